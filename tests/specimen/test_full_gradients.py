"""Gradients of frozen backbones and checkpointed blocks, against the same network without either."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from microtome.instruments.input_gradients import input_gradients
from microtome.opening.opening import open as open_specimen
from microtome.specimen import tap
from microtome.specimen.full_gradients import full_gradients


class Decorated(nn.Conv2d):
    @torch.no_grad()
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


class DecoratedInference(nn.Conv2d):
    @torch.inference_mode()
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input)


def run_block(block: nn.Module, x: Tensor, how: str) -> Tensor:
    """A block as a network runs it that wants no gradients, or to save memory."""
    if how == "no_grad":
        return block(x)
    if how == "set_grad_enabled":
        with torch.set_grad_enabled(False):
            return block(x)
    if how == "inference_mode":
        with torch.inference_mode():
            return block(x)
    if how in ("reentrant", "not reentrant"):
        made: Any = checkpoint(block, x, use_reentrant=how == "reentrant")
        return made
    return block(x)


WAYS = (
    "plain",
    "no_grad",
    "set_grad_enabled",
    "inference_mode",
    "reentrant",
    "not reentrant",
    "decorated",
    "decorated inference",
)


class Net(nn.Module):
    def __init__(self, ways: list[str]) -> None:
        super().__init__()
        kinds: dict[str, type[nn.Conv2d]] = {"decorated": Decorated, "decorated inference": DecoratedInference}
        self.ways = ways
        self.blocks = nn.ModuleList(
            nn.Sequential(kinds.get(way, nn.Conv2d)(3 if not place else 4, 4, 3, 1, 1), nn.Tanh())
            for place, way in enumerate(ways)
        )
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block, way in zip(self.blocks, self.ways, strict=True):
            x = run_block(block, x, way)
        return self.fc(x.mean((2, 3)))


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(WAYS), min_size=1, max_size=4), st.booleans())
def test_the_gradient_is_that_of_the_same_network_without_savings(ways: list[str], frozen: bool) -> None:
    torch.manual_seed(len(ways))
    saving = Net(ways).eval().requires_grad_(not frozen)
    plain = Net(["plain"] * len(ways)).eval()
    plain.load_state_dict(saving.state_dict())
    names = [f"blocks.{place}" for place in range(len(ways))]
    x = torch.randn(2, 3, 8, 8)
    slopes: list[dict[str, Tensor]] = []
    for module in (saving, plain):
        net = open_specimen(module, recipe={"size": 8})
        with tap(net, names) as taps:
            found = {name: slope for name, (_, slope) in taps.gradients(net.logits(x)[:, 1].sum()).items()}
        input_gradients(net, x, {}, lambda name, slope, found=found: found.update({name: slope}), answer=lambda out: out[:, 1])
        slopes.append(found)
    assert set(slopes[0]) == {*names, "answer"}
    for name, slope in slopes[0].items():
        assert bool(slope.any()) and torch.allclose(slope, slopes[1][name], atol=1e-7), name
    assert all(parameter.grad is None and parameter.requires_grad != frozen for parameter in saving.parameters())


def test_everything_is_as_before_also_after_a_failure() -> None:
    core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    before = [core._set_grad_enabled, core._InferenceMode, torch.utils.checkpoint.CheckpointFunction]
    net = nn.Linear(2, 2)
    with full_gradients(net):
        with torch.no_grad():  # outside a pass it does what it says
            assert not (net.weight * 2).requires_grad
        with pytest.raises(RuntimeError):
            net(torch.zeros(1, 3))
    assert [core._set_grad_enabled, core._InferenceMode, torch.utils.checkpoint.CheckpointFunction] == before
    assert not net._forward_pre_hooks and not net._forward_hooks


def test_a_stop_in_the_gradient_stays() -> None:
    class Through(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + (x.round() - x).detach()

    net = Through()
    x = torch.randn(2, 3, requires_grad=True)
    with full_gradients(net):
        (slope,) = torch.autograd.grad(net(x).sum(), x)
    assert torch.equal(slope, torch.ones_like(slope))
