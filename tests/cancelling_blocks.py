"""A network whose two blocks cancel out: without either it always gives one class."""

import torch
from torch import nn

import microtome as mt


class Shift(nn.Module):
    """x + a constant."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.fill_(by)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


class Cancelling(nn.Module):
    """Class 1 for bright images: its blocks add 10 and take 10 away again."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 1)
        self.blocks = nn.Sequential(Shift(10.0), Shift(-10.0))
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.stem.weight.fill_(1 / 3)
            self.stem.bias.zero_()
            self.head.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def make() -> nn.Module:
    return Cancelling()


def cancelling() -> mt.Specimen:
    return mt.open(make(), recipe={"size": 8, "mean": (0.5,) * 3, "std": (1.0,) * 3, "crop": 1.0})
