"""A network whose gate is a function in its forward."""

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """Two convolutions, the second gated by a function in forward: the sigmoid is no module, nor is the squeeze."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, units, 3, padding=1)
        self.excite = nn.Linear(units, units)
        self.head = nn.Linear(units, 3)

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(self.stem(x).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        maps = self.stem(x)
        maps = maps * torch.sigmoid(self.excite(maps.mean((2, 3))))[:, :, None, None]
        return self.head(maps.mean((2, 3)))


def made(seed: int = 0) -> Gated:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Gated().eval()
