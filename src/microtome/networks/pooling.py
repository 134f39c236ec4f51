"""What can stand between the last map of a network and the layer that reads it: the heads of the weight-banding study.

All take maps (image, unit, row, col) and give vectors (image, feature). Those that count places are made for one size of map.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, section "What affects banding". Attention pooling
with one learned query, and FiLM with a scale and a shift for each place, are our readings of layers that it names only.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

Pooling = Literal["gap", "fc", "x_avgpool", "y_avgpool", "xy_avgpool", "max_fc", "masks", "mask", "attention", "groups", "film"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


class MapSize(NamedTuple):
    """Units, rows and cols of a map."""

    units: int
    rows: int
    cols: int

    @property
    def places(self) -> int:
        """Positions of the map."""
        return self.rows * self.cols


class HeadWidths(NamedTuple):
    """How many masks, how many groups of channels and how wide the layer of each, and the width of the layer behind a maximum."""

    masks: int = 3
    groups: int = 16
    group_width: int = 64
    hidden: int = 4096


class L2Pool(nn.Module):
    """The root of the mean square over windows of `kernel` px at stride `stride`; places of the padding do not count."""

    def __init__(
        self,
        kernel: int | tuple[int, int] = 2,
        stride: int | tuple[int, int] = 2,
        padding: int | tuple[int, int] = 0,
        ceil: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding, self.ceil = kernel, stride, padding, ceil

    def forward(self, x: Tensor) -> Tensor:
        """With the defaults, half the places a side."""
        means = avg_pool2d(x * x, self.kernel, self.stride, self.padding, self.ceil, count_include_pad=False)
        return (means + 1e-12).sqrt()  # the addend keeps the gradient of an empty window at 0

    def extra_repr(self) -> str:
        return f"{self.kernel}, stride={self.stride}, padding={self.padding}"


class SpatialMasks(nn.Module):
    """`count` learned maps of weights over the places; each gives one weighted mean of every channel, and all are stacked.

    At the start their mean is 1 at every place where `balanced`, so that together they weight all places alike.
    """

    def __init__(self, count: int, rows: int, cols: int, balanced: bool = False) -> None:
        super().__init__()
        noise = 0.1 * torch.randn(count, rows, cols)
        self.weight = nn.Parameter(torch.ones(count, rows, cols) + (noise - noise.mean(0) if balanced else noise))

    def forward(self, x: Tensor) -> Tensor:
        """(image, count · unit)."""
        return torch.einsum("iurc,mrc->imu", x, self.weight).flatten(1) / self.weight[0].numel()


class ElementMask(nn.Module):
    """One learned weight for every element of the map."""

    def __init__(self, units: int, rows: int, cols: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units, rows, cols))

    def forward(self, x: Tensor) -> Tensor:
        """The map, every element multiplied by its own weight."""
        return x * self.weight


class OnePlace(nn.Module):
    """A vector as a map of one position, for forward methods that flatten what their pooling gives."""

    def forward(self, x: Tensor) -> Tensor:
        """(image, feature, 1, 1)."""
        return x[:, :, None, None]


class RowColMeans(nn.Module):
    """The mean of every row and the mean of every column, stacked."""

    def forward(self, x: Tensor) -> Tensor:
        """(image, unit · (row + col)): first by unit and row, then by unit and col."""
        return torch.cat([x.mean(3).flatten(1), x.mean(2).flatten(1)], 1)


class AttentionPool(nn.Module):
    """The mean over places weighted by a softmax of how each place fits one learned query; a query of zero weights all alike."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """(image, unit)."""
        values = x.flatten(2)
        fit = torch.einsum("iup,u->ip", values, self.query) / len(self.query) ** 0.5
        return torch.einsum("iup,ip->iu", values, fit.softmax(1))


class SpatialFilm(nn.Module):
    """Every place of the map scaled by 1 + γ and shifted by β, both predicted from the pooled map; then the mean over places."""

    def __init__(self, units: int, rows: int, cols: int) -> None:
        super().__init__()
        self.film = nn.Linear(units, 2 * rows * cols)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(image, unit)."""
        gain, shift = self.film(x.mean((2, 3))).unflatten(1, (2, 1, *x.shape[2:])).unbind(1)
        return (x * (1 + gain) + shift).mean((2, 3))


class ChannelGroups(nn.Module):
    """Channels in groups, each with a fully connected layer and batch norm of its own; the results are stacked."""

    def __init__(self, size: MapSize, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.fc = nn.ModuleList(nn.Linear(size.units // groups * size.places, width, bias=False) for _ in range(groups))
        self.norm = nn.BatchNorm1d(groups * width)

    def forward(self, x: Tensor) -> Tensor:
        """(image, groups · width)."""
        parts = x.chunk(self.groups, 1)
        stacked = torch.cat([fc(part.flatten(1)) for fc, part in zip(self.fc, parts, strict=True)], 1)
        return torch.relu(self.norm(stacked))


def build_pooling(pooling: Pooling, size: MapSize, widths: HeadWidths, balanced: bool = False) -> tuple[nn.Module, int]:
    """The head of that name for maps of that size, and how many numbers it gives for one image; `balanced`: see `SpatialMasks`."""
    flat = nn.Flatten(1)
    units, rows, cols = size
    if pooling == "gap":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), flat), units
    if pooling == "fc":
        return flat, units * size.places
    if pooling == "x_avgpool":  # each row is averaged: what is left is one column
        return nn.Sequential(nn.AdaptiveAvgPool2d((rows, 1)), flat), units * rows
    if pooling == "y_avgpool":
        return nn.Sequential(nn.AdaptiveAvgPool2d((1, cols)), flat), units * cols
    if pooling == "xy_avgpool":
        return RowColMeans(), units * (rows + cols)
    if pooling == "max_fc":
        hidden = nn.Linear(units, widths.hidden, bias=False)
        return nn.Sequential(nn.AdaptiveMaxPool2d(1), flat, hidden, nn.BatchNorm1d(widths.hidden), nn.ReLU()), widths.hidden
    if pooling == "masks":
        return SpatialMasks(widths.masks, rows, cols, balanced), widths.masks * units
    if pooling == "mask":
        return nn.Sequential(ElementMask(units, rows, cols), nn.AdaptiveAvgPool2d(1), flat), units
    if pooling == "attention":
        return AttentionPool(units), units
    if pooling == "film":
        return SpatialFilm(units, rows, cols), units
    return ChannelGroups(size, widths.groups, widths.group_width), widths.groups * widths.group_width
