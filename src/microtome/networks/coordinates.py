"""Coordinates as two more channels of a map, and a convolution that adds them to its input.

Source: CoordConv, Liu et al. 2018, arXiv:1807.03247, sec. 3.
"""

import torch
from torch import Tensor, nn

from microtome.networks.widening import WidenedConv2d


def with_coordinates(x: Tensor) -> Tensor:
    """The maps (image, unit, row, col) with two more behind: row and col from -1 (first) to 1 (last)."""
    rows, cols = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[2:])
    shape = (len(x), 1, *x.shape[2:])
    return torch.cat([x, rows[:, None].expand(shape), cols.expand(shape)], 1)


class Coordinates(nn.Module):
    """Two more maps: where each place lies, from -1 (first) to 1 (last), by row and by col."""

    def forward(self, x: Tensor) -> Tensor:
        """The maps (image, unit + 2, row, col)."""
        return with_coordinates(x)


class CoordinateConv2d(WidenedConv2d):
    """A convolution that reads two coordinate channels behind its input, and gives what `plain` gives until it is trained."""

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__(plain, 2)

    def forward(self, input: Tensor) -> Tensor:
        """The map of the input and its coordinates."""
        return super().forward(with_coordinates(input))
