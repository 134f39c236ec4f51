"""Live memory by hand."""

import torch
from torch import nn

from microtome.specimen.live_memory import peak_live_bytes


class Sums(nn.Module):
    """A map of 8 x 8 floats and its double are held while they are added: 256 bytes each, the sum beside both, and its mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:, :1] * 1.0
        second = first * 2.0
        return (first + second).mean((2, 3))


def test_what_is_held_at_once_by_hand() -> None:
    x = torch.zeros(1, 3, 8, 8)
    with torch.no_grad():
        assert peak_live_bytes(lambda: Sums()(x)) == 3 * 256 + 4


def test_a_pass_with_gradients_keeps_what_the_way_back_needs() -> None:
    """y = x·x·x keeps x·x (one map of 256 bytes) beside y; the way back holds at most a few maps more."""
    x = torch.ones(1, 1, 8, 8, requires_grad=True)

    def back() -> None:
        torch.autograd.grad((x * x * x).sum(), x)

    with torch.no_grad():
        forward = peak_live_bytes(lambda: (x * x * x).sum())
    assert forward == 2 * 256
    assert forward + 256 <= peak_live_bytes(back) <= 6 * 256
