"""Convolutions joined with sums and ReLUs: the tape is shorter and gives the same, and what must stay apart stays apart."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microtome.instruments.perturbation.recording import Recording
from microtome.instruments.perturbation.tape import INPUT


class Blocks(nn.Module):
    """A residual block with a shortcut of its own, one without, and a sum of three."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.short, self.same = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.inplace = inplace

    def forward(self, x):
        y = self.two(F.relu(self.one(x), inplace=self.inplace))
        if self.inplace:
            y += self.short(x)
        else:
            y = y + self.short(x)
        y = F.relu(y, inplace=self.inplace)
        z = F.relu(self.three(y) + y)
        return (self.same(z) + y + self.short(y)).mean((2, 3))


class Overwritten(nn.Module):
    """What the convolution reads is overwritten before its output is added."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.one(x)
        made = self.two(y)
        return F.relu(y.relu_() + made).mean((2, 3))


class Twice(nn.Module):
    """A convolution's output is read before its ReLU, too."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        y = self.one(x)
        return (F.relu(y) * y).mean((2, 3))


def taped(net, x):
    def watching(_):
        return contextlib.nullcontext()

    return Recording(net, x, watching, lambda *_: None).tape()


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("net", "count", "names"),
    [
        (Blocks(False), 4, ["convolution"] * 6 + ["mean"]),
        (Blocks(True), 4, ["convolution"] * 6 + ["mean"]),
        (Overwritten(), 3, ["convolution", "convolution", "relu_", "add", "relu", "mean"]),
        (Twice(), 3, ["convolution", "relu", "mul", "mean"]),
    ],
)
def test_gives_what_the_network_gives(net, count, names, wide):
    x = torch.randn(1, count, 6, 7, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last) if wide else x
    with torch.no_grad():
        tape = taped(net, x)
        assert sorted(node.name for node in tape.nodes) == sorted(names)
        batch = torch.randn(3, count, 6, 7, generator=torch.Generator().manual_seed(1))
        batch = batch.contiguous(memory_format=torch.channels_last) if wide else batch
        assert tape.run({INPUT: batch}, 0, 3).numpy() == pytest.approx(net(batch).numpy(), abs=1e-6)
