import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen
from microtome.specimen.seeding import seed_generators
from microtome.specimen.twins import twin_seed

SMALL = (64, 64)


class Raw(nn.Module):
    """A network with single parameters: a class token, a position table, a layer scale, attention projections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        assert width == 8
        self.proj = nn.Conv2d(3, 8, 4, 4)
        self.pos_embed = nn.Parameter(torch.randn(1, 16, 8) * 0.02)
        self.gamma = nn.Parameter(torch.full((8,), 0.3))
        self.norm = nn.BatchNorm2d(8)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.proj(x)).flatten(2).transpose(1, 2) + self.pos_embed
        return (self.attn(tokens, tokens, tokens)[0] * self.gamma).mean(1)


def test_every_drawn_parameter_is_fresh_and_seeded() -> None:
    raw = Raw(8).eval()
    raw.norm.running_mean.fill_(5.0)  # type: ignore[union-attr, operator]
    net = open_specimen(raw, recipe=16)
    twin, again, other = net.twin(1), net.twin(1), net.twin(2)
    assert any("own mean and spread: pos_embed" in note for note in twin.notes)
    assert twin.digest() == again.digest()
    assert len({net.digest(), twin.digest(), other.digest()}) == 3
    old, new = net.net.state_dict(), twin.net.state_dict()
    assert not any(
        torch.equal(old[name], new[name]) for name in ("proj.weight", "proj.bias", "pos_embed", "attn.in_proj_weight")
    )
    assert torch.equal(new["gamma"], old["gamma"])  # constant: its mean, no spread
    assert new["norm.running_mean"].eq(0).all()
    # 128 values with the table's own mean and spread: within four standard errors, 4 * 0.02 / sqrt(128)
    assert new["pos_embed"].mean().item() == pytest.approx(old["pos_embed"].mean().item(), abs=0.0071)
    assert (twin.name, twin.weights, twin.trained) == ("Raw (untrained twin)", "untrained (seed 1)", False)
    assert twin.unchanged == ()
    assert not any("in_proj" in note for note in twin.notes)


def test_the_working_twin_is_the_twin_and_is_made_once() -> None:
    net = open_specimen("microtome:mini_resnet")
    kept = net.working_twin(None, 3)
    assert net.working_twin(None, 3) is kept
    assert kept.digest() == net.twin(3).digest()
    assert net.twin(3) is not kept
    assert any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in kept.net.parameters())
    assert net.working_twin(None).digest() == net.twin().digest() != kept.digest()


def test_twins_of_factories_are_built_anew_with_live_branches() -> None:
    net = open_specimen("timm:resnet18", weights=None, seed=4)
    twin = net.twin(4)
    norms = [module for name, module in twin.net.named_modules() if name.endswith("bn2") and isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 8
    assert all(bool(norm.weight.any()) for norm in norms)
    assert [layer.name for layer in twin.layers] == [layer.name for layer in net.layers]
    assert (twin.labels, twin.recipe, twin.family) == (net.labels, net.recipe, net.family)
    fresh = open_specimen("timm:resnet18", weights=None, seed=twin_seed(4), zero_init_last=False)
    assert twin.digest() == fresh.digest()


def test_twins_of_other_libraries(opened: Callable[..., Specimen]) -> None:
    for what in ("torchvision:squeezenet1_1", "timm:convnext_tiny"):
        net = opened(what, SMALL)
        assert net.twin(9).digest() != net.digest()


def test_the_specimen_is_not_changed_by_having_a_twin(net: Specimen) -> None:
    before = {name: value.clone() for name, value in net.net.state_dict().items()}
    net.twin(5)
    after = net.net.state_dict()
    assert before.keys() == after.keys() and len(after) > 3
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_code_that_seeds_itself_draws_under_our_seed() -> None:
    originals = torch.manual_seed, np.random.seed, random.seed
    drawn: list[tuple[float, float, float]] = []
    for seed in (3, 3, 4):
        with seed_generators(seed, alone=True):
            torch.manual_seed(0)
            np.random.seed(0)
            random.seed(0)
            drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))
    assert (torch.manual_seed, np.random.seed, random.seed) == originals


def test_global_generators_stand_where_they_stood() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index, union-attr]
    with seed_generators(3):
        drawn = torch.rand(1).item(), np.random.rand(), random.random()
    with seed_generators(3):
        assert drawn == (torch.rand(1).item(), np.random.rand(), random.random())
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]
    assert states[2] == random.getstate()
