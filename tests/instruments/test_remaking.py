"""Layers made anew for another number of units: their spread by fan-in, what is kept, and what cannot be joined."""

import copy

import pytest
import torch
from torch import nn

from microtome.errors import Uneditable
from microtome.instruments.remaking import remake_layers


def test_a_norm_is_made_anew() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(8, 1)).train()
    assert remake_layers(net, torch.zeros(2, 3, 3, 3), torch.Generator()) == ["1", "2", "4"]
    assert net[1].num_features == 6  # type: ignore[union-attr]
    assert net.training
    assert not any(one._forward_pre_hooks for one in net.modules())


@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_new_weights_have_the_spread_of_the_old_by_fan_in_and_the_old_bias(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "convolution":
        net = nn.Sequential(nn.Conv2d(3, 100, 1), nn.Conv2d(400, 200, 3, 2, 1, 1))
        example = torch.zeros(1, 3, 4, 4)
    else:
        net, example = nn.Sequential(nn.Flatten(), nn.Linear(400, 2000)), torch.zeros(1, 1, 10, 10)
    old = copy.deepcopy(net[1])
    assert remake_layers(net, example, torch.Generator().manual_seed(1)) == ["1"]
    assert net[1].weight.shape[1] == 100  # a quarter of the inputs: twice the spread
    assert float(net[1].weight.detach().std()) == pytest.approx(2 * float(old.weight.detach().std()), rel=0.02)
    assert torch.equal(net[1].bias, old.bias)
    again = nn.Sequential(net[0], old)
    remake_layers(again, example, torch.Generator().manual_seed(1))
    assert torch.equal(again[1].weight, net[1].weight)
    if kind == "convolution":
        assert (net[1].stride, net[1].padding) == ((2, 2), (1, 1))


def test_what_fits_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6))
    before = [*net]
    assert remake_layers(net, torch.zeros(1, 3, 2, 2), torch.Generator()) == []
    assert [one is two for one, two in zip(net, before, strict=True)] == [True, True]


class Twice(nn.Module):
    """One layer for two numbers of units, or two maps that cannot be added."""

    def __init__(self, add: bool) -> None:
        super().__init__()
        self.add, self.one, self.two = add, nn.Conv2d(3, 4, 1), nn.Conv2d(5, 6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.one(x) if self.add else self.two(self.two(self.one(x)))


def test_what_no_new_layer_can_join_is_refused_in_one_sentence() -> None:
    with pytest.raises(Uneditable, match="'two' is called with several numbers of units, so that no new layer fits all"):
        remake_layers(Twice(False), torch.zeros(1, 3, 2, 2), torch.Generator())
    with pytest.raises(Uneditable, match="a removed layer was added or concatenated to one that remains"):
        remake_layers(Twice(True), torch.zeros(1, 3, 2, 2), torch.Generator())
    grouped = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(4, 4, 1, groups=2))
    with pytest.raises(Uneditable, match="2 groups of units, and would get 6 units instead of 4"):
        remake_layers(grouped, torch.zeros(1, 3, 4, 4), torch.Generator())
