"""Small networks with parallel dilated branches, as several tests open them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import microtome as mt

PLAIN = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Aspp(nn.Module):
    """A stem of stride `step`, branches of 3 x 3 at several rates, a 1 x 1 and a pooling branch, joined and projected."""

    def __init__(self, rates: tuple[int, ...] = (2, 4, 7), step: int = 2, pooling: bool = True, wrapped: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, step, 1)
        self.aspp = Joined(rates, pooling, wrapped)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.aspp(torch.relu(self.stem(x))))


class Joined(nn.Module):
    """The branches; `wrapped` puts a rectifier and padding of their own before each convolution."""

    def __init__(self, rates: tuple[int, ...], pooling: bool, wrapped: bool) -> None:
        super().__init__()
        self.point, self.pool = nn.Conv2d(6, 5, 1), nn.Conv2d(6, 5, 1) if pooling else None
        self.branches = nn.ModuleList(
            nn.Sequential(nn.LeakyReLU(), nn.ZeroPad2d(r), nn.Conv2d(6, 5, 3, dilation=r))
            if wrapped else nn.Sequential(nn.Conv2d(6, 5, 3, padding=r, dilation=r), nn.LeakyReLU())
            for r in rates
        )  # fmt: skip
        self.project = nn.Conv2d(5 * (1 + len(rates) + pooling), 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        made = [self.point(x), *(branch(x) for branch in self.branches)]
        if self.pool is not None:
            made.append(self.pool(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:]))
        return self.project(torch.cat(made, 1))


def opened(net: nn.Module, size: int | tuple[int, int] = 33) -> mt.Specimen:
    return mt.open(net.eval(), recipe={"size": size, **PLAIN})


def seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
