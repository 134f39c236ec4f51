"""Live memory by hand."""

import torch
from torch import nn

import microtome as mt
from microtome.analyses.cost.live_memory import peak_live_bytes


class Sums(nn.Module):
    """A map of 8 x 8 floats and its double are held while they are added: 256 bytes each, the sum beside both, and its mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = x[:, :1] * 1.0
        second = first * 2.0
        return (first + second).mean((2, 3))


def test_what_is_held_at_once_by_hand() -> None:
    net = mt.open(nn.Sequential(Sums(), nn.Linear(1, 2)).eval(), recipe={"size": 8})
    assert peak_live_bytes(net, torch.zeros(1, 3, 8, 8)) == 3 * 256 + 4
