"""The role of each norm, by hand on one block with everything in it, and counted in the networks of libraries."""

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.norm_roles import norm_roles
from microtome.instruments.scale_invariance import scale_invariance


class Block(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1, self.inner = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)
        self.conv2, self.end = nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after)
        self.short = nn.Sequential(nn.Conv2d(before, after, 1), nn.BatchNorm2d(after)) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.short(x) + self.end(self.conv2(torch.relu(self.inner(self.conv1(x))))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.blocks, self.head = nn.Sequential(Block(4, 4), Block(4, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))


def test_every_role_by_hand() -> None:
    net = mt.open(Net().eval(), recipe={"size": 16})
    assert norm_roles(net, scale_invariance(net.net, net.recipe)) == {
        "norm": "free",
        "blocks.0.inner": "internal",
        "blocks.0.end": "branch end",
        "blocks.1.inner": "internal",
        "blocks.1.end": "branch end",
        "blocks.1.short.1": "shortcut",
    }


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("resnet18", {"free": 1, "internal": 8, "branch end": 8, "shortcut": 3}),  # two norms in 8 blocks, 3 projections
        ("resnet10t", {"free": 1, "internal": 6, "branch end": 4, "shortcut": 3}),  # two more norms in a deep stem
    ],
)
def test_counts_in_networks_of_a_library(name: str, counts: dict[str, int]) -> None:
    net = mt.open(f"timm:{name}", weights=None, recipe={"size": 64})
    assert Counter(norm_roles(net, scale_invariance(net.net, net.recipe)).values()) == counts
