"""Which linear layers read a flattened map: of what size and order, and which read something else."""

import torch
from torch import Tensor, nn

import microtome as mt
from microtome.instruments.flattened_maps import flattened_maps


class Mixed(nn.Module):
    """One linear layer reads a flattened map, one what it gives, one the mean over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.first, self.second, self.pooled = nn.Linear(4 * 3 * 5, 6), nn.Linear(6, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(self.conv(x))
        return self.second(torch.relu(self.first(maps.flatten(1)))) + self.pooled(maps.mean((2, 3)))


def test_only_the_layer_that_reads_the_flattened_map_is_named() -> None:
    found = flattened_maps(mt.open(Mixed().eval(), recipe={"size": (8, 12)}))
    assert list(found) == ["first"]
    assert found["first"][:3] == (4, 3, 5)


def test_a_network_without_linear_layers_has_none() -> None:
    assert flattened_maps(mt.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval(), recipe={"size": 8})) == {}
