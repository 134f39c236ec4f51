"""Which norms a function does not depend on: known counts, the slow twin in double precision, and biases that a norm removes."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.errors import SpecimenError
from microtome.instruments.scale_invariance import ScaleInvariance, scale_invariance


@pytest.mark.parametrize(
    ("name", "internal", "norms", "stem"),
    [("resnet18", 8, 20, "bn1"), ("resnet50", 33, 53, "bn1"), ("resnetv2_50", 28, 49, "norm")],
)
def test_internal_norms_are_those_of_one_forward_pass_each(name: str, internal: int, norms: int, stem: str) -> None:
    """8 of 20, 33 of 53, 28 of 49, found before by scaling each norm by three and looking whether the output changes."""
    net = mt.open(f"timm:{name}", weights=None, recipe={"size": 64})
    told = scale_invariance(net.net, net.recipe)
    assert (len(told.scales), len(told.norms)) == (internal, norms)
    assert (stem in told.scales) == (name == "resnet50")


def test_the_slow_twin_agrees(tiny_resnet: mt.Specimen) -> None:
    """Scaling (γ, β) of each norm by three in double precision, batch statistics: the output changes exactly where we say so."""
    told = scale_invariance(tiny_resnet.net, tiny_resnet.recipe)
    net = copy.deepcopy(tiny_resnet.net).double().train()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eps = 1e-14
                part.weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
                part.bias.normal_(generator=torch.Generator().manual_seed(2))
        x = torch.randn(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        before = net(x)
        changed: dict[str, bool] = {}
        for path in told.norms:
            part = net.get_submodule(path)
            part.weight *= 3
            part.bias *= 3
            changed[path] = float((net(x) - before).abs().max()) > 1e-6 * float(before.std())
            part.weight /= 3
            part.bias /= 3
    assert tuple(path for path, moved in changed.items() if not moved) == told.scales
    assert {True, False} == set(changed.values())


@pytest.fixture(scope="module")
def tiny_resnet() -> mt.Specimen:
    return mt.open("microtome:mini_resnet", weights=None)


class Biased(nn.Module):
    """A bias before a batch norm, one before a group norm of single units, one before a ReLU, and a norm whose scale is frozen out."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.two, self.single = nn.Conv2d(4, 4, 3), nn.GroupNorm(4, 4)
        self.three, self.unused = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.one(x)))
        x = torch.relu(self.single(self.two(x)))
        return self.head(torch.relu(self.three(x)).mean((2, 3)))


def test_biases_that_a_norm_removes_and_norms_that_take_no_part() -> None:
    net = Biased()
    before = copy.deepcopy(net.state_dict())
    told = scale_invariance(net, mt.Recipe(size=(16, 16)))
    assert told == ScaleInvariance(norms=("norm", "single"), scales=("norm",), biases=("one", "two"))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_residual_branch_end_counts_as_a_scale_of_the_stream(scale: float, tiny: Callable[..., nn.Module]) -> None:
    """The same network with and without shortcuts: only without them a following norm removes the scale."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
            self.next, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.next(scale * x + self.norm(self.conv(x)))).amax((2, 3))

    assert scale_invariance(Block(), mt.Recipe(size=(8, 8))).scales == (() if scale else ("norm",))


def test_what_does_not_run_or_has_no_gradient_is_said() -> None:
    with pytest.raises(SpecimenError, match="does not run in double precision"):
        scale_invariance(nn.Sequential(nn.Conv2d(5, 2, 3)), mt.Recipe(size=(8, 8)))
    with pytest.raises(SpecimenError, match="No gradient passes"):
        scale_invariance(nn.Sequential(nn.MaxPool2d(2)), mt.Recipe(size=(8, 8)))
