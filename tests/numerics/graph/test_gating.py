"""Gates found by what they do: each way to write one, and products that are none."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.numerics.graph.gating import FactorMode, GateFactor, replay_factor

SCALE = torch.tensor([1.0, -2.0, 0.5]).view(1, 3, 1, 1)


def found(work: Callable[[Tensor, Tensor], Tensor]) -> tuple[list[GateFactor], Tensor]:
    """The factors seen while `work(x, squeezed)` runs, and `squeezed` (image, channel, 1, 1), which is labelled "fc"."""
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mode = FactorMode(x)
    with torch.no_grad(), mode:
        squeezed = 3 * x.mean((2, 3), keepdim=True)
        mode.label(squeezed, "fc")
        kept = squeezed.clone()
        work(x, squeezed)
    return mode.factors, kept


WRITTEN = {
    "sigmoid": (lambda x, s: x * torch.sigmoid(s), torch.sigmoid),
    "in place": (lambda x, s: x * s.sigmoid_(), torch.sigmoid),
    "other way round": (lambda x, s: torch.tanh(s) * x, torch.tanh),
    "overwritten map": (lambda x, s: x.clone().mul_(F.relu(s)), F.relu),
    "expanded": (lambda x, s: x * torch.sigmoid(s).expand_as(x), torch.sigmoid),
    "hard sigmoid": (lambda x, s: x * F.hardsigmoid(s), F.hardsigmoid),
    "hard sigmoid by hand": (lambda x, s: x * (F.relu6(s + 3) / 6), lambda s: F.relu6(s + 3) / 6),
    "one plus": (lambda x, s: x * (1 + torch.tanh(s)), lambda s: 1 + torch.tanh(s)),
    "scaled by a parameter": (lambda x, s: x * torch.relu(s * SCALE), lambda s: torch.relu(s * SCALE)),
    "views between": (lambda x, s: x * torch.sigmoid(s.flatten(1)[:, None].transpose(1, 2)).view(2, 3, 1, 1), torch.sigmoid),
    "as it is": (lambda x, s: x * s, lambda s: s),
}  # fmt: skip
OTHER = {
    "a swish": lambda x, s: x * torch.sigmoid(x),
    "one number per place": lambda x, s: x * torch.sigmoid(x.mean(1, keepdim=True)),
    "a parameter": lambda x, s: x * SCALE,
    "a number": lambda x, s: x * 2,
    "two vectors": lambda x, s: s * torch.sigmoid(s),
    "a sum": lambda x, s: x + torch.sigmoid(s),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_gate_is_found_and_computed_again(name: str) -> None:
    work, formula = WRITTEN[name]
    (factor,), squeezed = found(work)
    assert factor.origin == "fc" and factor.channels == 3
    told = replay_factor(squeezed, factor)
    assert told is not None
    torch.testing.assert_close(told, formula(squeezed).flatten(1), rtol=0, atol=0)
    more = torch.randn(5, 3, 1, 1)  # another number of images
    again = replay_factor(more, factor)
    assert again is not None
    torch.testing.assert_close(again, formula(more).flatten(1), rtol=0, atol=0)


@pytest.mark.parametrize("name", OTHER)
def test_no_gate(name: str) -> None:
    assert found(OTHER[name])[0] == []


def test_a_factor_of_several_origins_is_found_and_not_followed() -> None:
    (factor,), squeezed = found(lambda x, s: x * torch.sigmoid(s + x.amax((2, 3), keepdim=True)))
    assert factor.origin is None
    assert replay_factor(squeezed[:, :2], factor) is None  # not its channels
