"""Coordinates as two more channels of a map, and a convolution that adds them to its input.

Source: CoordConv, Liu et al. 2018, arXiv:1807.03247, sec. 3.
"""

import torch
from torch import Tensor, nn


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


class CoordinateConv2d(nn.Conv2d):
    """A convolution that reads two coordinate channels behind its input; the weights that read them start at zero.

    `in_channels` counts them. Only convolutions without groups can be widened so.
    """

    @classmethod
    def of(cls, plain: nn.Conv2d) -> "CoordinateConv2d":
        """The convolution that gives what `plain` gives."""
        wide = cls(
            plain.in_channels + 2,
            plain.out_channels,
            (plain.kernel_size[0], plain.kernel_size[1]),
            (plain.stride[0], plain.stride[1]),
            plain.padding if isinstance(plain.padding, str) else (plain.padding[0], plain.padding[1]),
            (plain.dilation[0], plain.dilation[1]),
            1,
            plain.bias is not None,
            plain.padding_mode,
            plain.weight.device,
            plain.weight.dtype,
        )
        with torch.no_grad():
            wide.weight.zero_()
            wide.weight[:, : plain.in_channels] = plain.weight
            if wide.bias is not None and plain.bias is not None:
                wide.bias.copy_(plain.bias)
        return wide

    def forward(self, input: Tensor) -> Tensor:
        """The map of the input and its coordinates."""
        return super().forward(with_coordinates(input))
