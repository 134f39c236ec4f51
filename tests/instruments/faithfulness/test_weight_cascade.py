"""Weights drawn anew from the head downwards: order, statistics, seeds, raw parameters; a network without weights is refused."""

import pytest
import torch
from torch import nn

import microtome as mt
from map_networks import opened, pooled
from microtome.errors import Unmeasurable
from microtome.instruments.faithfulness.weight_cascade import cascade_parts, randomised_networks
from microtome.specimen.learnt_tensors import learnt_tensors


class Backwards(nn.Module):
    """Registered in the opposite order of execution, with a raw parameter of its own and one in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.second = nn.Conv2d(5, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.shift = nn.Parameter(torch.randn(3, 1, 1, generator=torch.Generator().manual_seed(5)))

    def forward(self, x):
        x = self.norm(self.first(x + self.shift)).relu()
        return self.head(self.second(x).relu().mean((2, 3)))


def snapshot(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in learnt_tensors(net).items()}


def test_parts_follow_execution_not_registration_and_hold_every_learnt_tensor() -> None:
    specimen = opened(Backwards().eval())
    parts = cascade_parts(specimen, 10)
    assert [part.lowest for part in parts] == ["head", "second", "norm", "first", "the whole"]
    assert parts[-1].tensors == ("shift",)
    names = {name for part in parts for name in part.tensors}
    assert names == {name for name in learnt_tensors(specimen.net) if "running" not in name}
    assert [part.lowest for part in cascade_parts(specimen, 3)] == ["head", "norm", "the whole"]


def test_each_step_shuffles_one_part_more_and_keeps_every_statistic() -> None:
    specimen = opened(Backwards().eval())
    before, parts = snapshot(specimen.net), cascade_parts(specimen, 10)
    x = torch.rand(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    reached: set[str] = set()
    for part, network in zip(parts, randomised_networks(specimen, parts, x), strict=True):
        reached |= set(part.tensors)
        now = snapshot(network.net)
        for name, value in before.items():
            if "running" in name:
                continue
            assert torch.equal(now[name].flatten().sort().values, value.flatten().sort().values)
            varied = bool((value != value.flatten()[0]).any())
            assert torch.equal(now[name], value) == (name not in reached or not varied), name
        assert torch.equal(now["norm.running_mean"], before["norm.running_mean"]) == ("norm.weight" not in reached)
    assert all(torch.equal(value, snapshot(specimen.net)[name]) for name, value in before.items())  # the network itself stays


def test_equal_tensors_get_different_shuffles_and_another_seed_others() -> None:
    net = pooled()
    with torch.no_grad():
        net[2].weight[:5].copy_(net[2].weight[:1].expand(5, -1, -1, -1))
    specimen = opened(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(576, 3)).eval()
    )
    with torch.no_grad():
        specimen.net[2].weight.copy_(specimen.net[1].weight)
    parts, x = cascade_parts(specimen, 4), torch.rand(1, 3, 12, 12)
    last = [list(randomised_networks(specimen, parts, x, seed))[-1].net for seed in (0, 0, 1)]
    assert not torch.equal(last[0][1].weight, last[0][2].weight)
    assert torch.equal(last[0][1].weight, last[1][1].weight) and not torch.equal(last[0][1].weight, last[2][1].weight)


def test_tokens_and_positions_of_a_transformer_are_drawn_anew_last() -> None:
    specimen = mt.open("microtome:mini_deit")
    parts = cascade_parts(specimen, 5)
    assert len(parts) == 5 and parts[0].lowest == "head"
    raw = [name for name in learnt_tensors(specimen.net) if "token" in name or "pos" in name]
    assert raw and set(raw) <= set(parts[-1].tensors)


def test_a_network_without_weights_is_refused() -> None:
    class Bare(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

    with pytest.raises(Unmeasurable, match="no weights"):
        cascade_parts(opened(Bare()), 4)
