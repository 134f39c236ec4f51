"""Convolutions and max pools with a larger window than they had, and padding that matches."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtome.numerics.receptive.positions import as_pair


class PaddedConv2d(nn.Conv2d):
    """A convolution whose input (image, unit, row, col) is first padded: `margin` is (left, right, top, bottom) in positions.

    As an `nn.Conv2d` it has no padding of its own.
    """

    def __init__(self, *args: Any, margin: tuple[int, int, int, int], edges: str = "zeros", **named: Any) -> None:
        super().__init__(*args, **named)
        self.margin, self.edges = margin, edges

    @classmethod
    def of(cls, conv: nn.Conv2d, kernel: tuple[int, int]) -> "PaddedConv2d":
        """`conv` with zeros behind its kernel up to the size `kernel`; it gives the same at every input size."""
        more = kernel[0] - conv.kernel_size[0], kernel[1] - conv.kernel_size[1]
        above, before = as_pair(conv.padding)
        weight = conv.weight
        made = cls(
            conv.in_channels, conv.out_channels, kernel, conv.stride, groups=conv.groups, bias=conv.bias is not None,
            margin=(before, before + more[1], above, above + more[0]), edges=conv.padding_mode, device=weight.device,
            dtype=weight.dtype,
        )  # fmt: skip
        with torch.no_grad():
            made.weight.copy_(F.pad(weight, (0, more[1], 0, more[0])))
            if conv.bias is not None and made.bias is not None:
                made.bias.copy_(conv.bias)
        made.weight.requires_grad_(weight.requires_grad)
        return made

    def forward(self, input: Tensor) -> Tensor:
        mode = "constant" if self.edges == "zeros" else self.edges
        return super().forward(F.pad(input, self.margin, mode=mode))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, margin={self.margin}" + ("" if self.edges == "zeros" else f", edges={self.edges}")


class PaddedMaxPool2d(nn.MaxPool2d):
    """A max pool whose input is first padded with minus infinity: `margin` is (left, right, top, bottom) in positions."""

    def __init__(self, kernel_size: Any, stride: Any, margin: tuple[int, int, int, int]) -> None:
        super().__init__(kernel_size, stride)
        self.margin = margin

    @classmethod
    def of(cls, pool: nn.MaxPool2d, kernel: tuple[int, int]) -> "PaddedMaxPool2d":
        """`pool` with a larger window, as many positions as before."""
        old, (above, before) = as_pair(pool.kernel_size), as_pair(pool.padding)
        more = kernel[0] - old[0], kernel[1] - old[1]
        return cls(kernel, pool.stride, (before, before + more[1], above, above + more[0]))

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(input, self.margin, value=float("-inf")), self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, margin={self.margin}"


def set_padding(conv: nn.Conv2d, padding: tuple[int, int] | None) -> None:
    """Let `conv` pad by (rows, cols) positions, whatever its mode; None: by its own rule, for its present dilation."""
    if padding is not None:
        conv.padding = padding
    if conv.padding == "same":
        total = [rate * (side - 1) for rate, side in zip(conv.dilation, conv.kernel_size, strict=True)]
        both = [(total_px // 2, total_px - total_px // 2) for total_px in total]
    else:
        both = [(0, 0) if conv.padding == "valid" else (int(side), int(side)) for side in conv.padding]
    # what other modes than zeros pad by: columns first
    cast(Any, conv)._reversed_padding_repeated_twice = [*both[1], *both[0]]
