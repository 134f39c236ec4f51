"""Rules that want a network of their own: a gate for each unit, a projection beside a branch. Each fault is found alone."""

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.analyses.audit.rule import Fault
from microtome.analyses.audit.run import run_audit

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Maps(nn.Module):
    """Convolutions whose stride divides their kernel, each with a norm and a rectifier; a head over their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10)

    def maps(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)))


def found(net: nn.Module) -> dict[str, Fault]:
    return {one.rule.id: one.fault for one in run_audit(mt.open(net.eval(), recipe=RECIPE)) if one.fault}


class Projected(Maps):
    """Maps, then a residual branch of two layers; its shortcut is a projection, with a norm or without."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.norm2 = nn.BatchNorm2d(16, affine=False)  # else its scale would be the stream's
        self.rest = Rest(norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.rest(self.maps(x))).flatten(1))


class Rest(nn.Module):
    """x projected, plus a branch."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.short = nn.Sequential(nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16) if norm else nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))) + self.short(x))


@pytest.mark.parametrize("norm", [True, False])
def test_a_norm_on_a_shortcut_is_found_and_nothing_else(norm: bool) -> None:
    """Without it the branch's end is the one scale that is not internal, and decay is right for all of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Projected(norm).eval()
    told = found(net)
    assert set(told) == ({"MT202"} if norm else set())
    if norm:
        fault = told["MT202"]
        assert fault.layers == ("rest.short.1",)
        assert (
            "of 4 norms 2 are internal" in fault.evidence
            and "1 end a branch" in fault.evidence
            and "1 lie on" in fault.evidence
        )


class Gated(Maps):
    """Maps with a gate for each unit of the last."""

    def __init__(self) -> None:
        super().__init__()
        self.shut, self.open = nn.Linear(16, 4), nn.Linear(4, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps(x)
        gate = torch.sigmoid(self.open(torch.relu(self.shut(x.mean((2, 3))))))
        return self.head(self.pool(x * gate[:, :, None, None]).flatten(1))


@pytest.mark.parametrize(("plant", "id", "said"), [
    ("", "", ""),
    ("stuck", "MT402", "2 of 16 gates without a change over 8 images"),
    ("saturated", "MT403", "1 of 16 gates always below 0.001 and 2 always above 0.999 for 8 images"),
])  # fmt: skip
def test_gates_that_are_stuck_or_saturated(plant: str, id: str, said: str) -> None:
    """Biases of 8 and -8: sigmoids of 0.9997 and 0.0003 that still move; weights of 1e-13 move nothing."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Gated().eval()
        net.open.weight.mul_(0.5)
        if plant == "stuck":
            net.open.weight[:2] *= 1e-12
        if plant == "saturated":
            net.open.bias[[1, 4]], net.open.bias[7] = 8.0, -8.0
    told = found(net)
    assert set(told) == ({id} if id else set())
    if id:
        fault = told[id]
        assert fault.evidence.startswith(said)
