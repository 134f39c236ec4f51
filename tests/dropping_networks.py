"""A network with dropout in every place where networks have it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

import microtome as mt

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


class Plain(nn.Module):
    """Clean without dropout; `slot` and `drop` are modules, `early` and `late` shares of dropout called as functions."""

    def __init__(self, slot: float = 0.0, drop: float = 0.0, early: float = 0.0, late: float = 0.0, hard: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.slot, self.early, self.late, self.hard = nn.Dropout(slot), early, late, hard
        self.conv2, self.norm2 = nn.Conv2d(8, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)
        self.pool, self.drop, self.head = nn.AdaptiveAvgPool2d(1), nn.Dropout(drop), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.slot(torch.relu(self.norm1(self.conv1(x))))
        if self.training:  # as many networks do: evaluation never comes here
            x = functional.dropout(x, self.early)
        x = torch.relu(self.norm2(self.conv2(x)))
        x = self.drop(self.pool(x).flatten(1))
        x = functional.dropout(x, p=self.late, training=self.training)
        return self.head(functional.dropout(x, self.hard))


def made(**shares: float) -> mt.Specimen:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return mt.open(Plain(**shares).eval(), recipe=RECIPE)
