"""The simplified network of the weight-banding study, and the changes that it made to it.

Twelve convolutions of stride 1 in six groups with five L2 poolings between them, global average pooling, 1001 outputs; batch norm
after everything with weights but the last layer. The article says neither the window of the L2 pooling (2 x 2 follows from the sizes
and stride 2, the mean instead of the sum of squares is our reading: the batch norm after it takes the factor out), nor the activation
(ReLU is our reading), nor how wide the layers of its channel groups are (64, from the run's name). The attention layers are described
too loosely to be built, and are not here.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, figure 4; sizes from its repository's history.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from microtome.errors import BadOption, did_you_mean

Pooling = Literal["gap", "fc", "x_avgpool", "y_avgpool", "max_fc", "masks", "mask", "groups"]
# group: (kernel, width, convolutions)
PLAN = ((7, 32, 1), (5, 64, 1), (5, 64, 1), (5, 128, 2), (5, 256, 5), (5, 512, 2))
GROUPS, GROUP_WIDTH, HIDDEN = 16, 64, 4096


class L2Pool(nn.Module):
    """The root of the mean square over windows of 2 x 2, stride 2."""

    def forward(self, x: Tensor) -> Tensor:
        """Half the places a side."""
        return (avg_pool2d(x * x, 2) + 1e-12).sqrt()  # the addend keeps the gradient of an empty window at 0


class Coordinates(nn.Module):
    """Two more maps: where each place lies, from -1 (first) to 1 (last), by row and by col."""

    def forward(self, x: Tensor) -> Tensor:
        """The maps (image, unit + 2, row, col)."""
        rows, cols = (torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in x.shape[2:])
        shape = (len(x), 1, *x.shape[2:])
        return torch.cat([x, rows[:, None].expand(shape), cols.expand(shape)], 1)


class SpatialMasks(nn.Module):
    """`count` learned maps of weights over the places; each gives one weighted mean of every channel, and all are stacked."""

    def __init__(self, count: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(count, side, side) + 0.1 * torch.randn(count, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(image, count · unit)."""
        return torch.einsum("iurc,mrc->imu", x, self.weight).flatten(1) / self.weight[0].numel()


class ElementMask(nn.Module):
    """One learned weight for every element of the map."""

    def __init__(self, units: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """The map, every element multiplied by its own weight."""
        return x * self.weight


class ChannelGroups(nn.Module):
    """Channels in groups, each with a fully connected layer and batch norm of its own; the results are stacked."""

    def __init__(self, units: int, side: int, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.fc = nn.ModuleList(nn.Linear(units // groups * side * side, width, bias=False) for _ in range(groups))
        self.norm = nn.BatchNorm1d(groups * width)

    def forward(self, x: Tensor) -> Tensor:
        """(image, groups · width)."""
        parts = x.chunk(self.groups, 1)
        stacked = torch.cat([fc(part.flatten(1)) for fc, part in zip(self.fc, parts, strict=True)], 1)
        return torch.relu(self.norm(stacked))


class BandingNet(nn.Module):
    """The convolutions, named as in the article (conv0a … conv5b), then the chosen pooling and the last layer `fc`."""

    def __init__(self, num_classes: int, pooling: Pooling, masks: int, coordinates: bool, width: float, size: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.features = nn.Sequential()
        units = 3
        for group, (kernel, wide, count) in enumerate(PLAN):
            for letter in "abcde"[:count]:
                outputs = max(GROUPS, round(wide * width))
                extra = coordinates and group == len(PLAN) - 1
                if extra:
                    self.features.add_module(f"coordinates{group}{letter}", Coordinates())
                conv = nn.Conv2d(units + 2 * extra, outputs, kernel, padding=kernel // 2, bias=False)
                self.features.add_module(f"conv{group}{letter}", conv)
                self.features.add_module(f"norm{group}{letter}", nn.BatchNorm2d(outputs))
                self.features.add_module(f"act{group}{letter}", nn.ReLU())
                units = outputs
            if group < len(PLAN) - 1:
                self.features.add_module(f"pool{group}", L2Pool())
        side = size // 32
        self.pool, wide = _pooling_head(pooling, units, side, masks)
        self.fc = nn.Linear(wide, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.fc(self.pool(self.features(x)))


def _pooling_head(pooling: Pooling, units: int, side: int, masks: int) -> tuple[nn.Module, int]:
    """What stands between the last map and the last layer, and how many numbers it gives."""
    flat = nn.Flatten(1)
    if pooling == "gap":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), flat), units
    if pooling == "fc":
        return flat, units * side * side
    if pooling == "x_avgpool":  # each row is averaged: what is left is one column
        return nn.Sequential(nn.AdaptiveAvgPool2d((side, 1)), flat), units * side
    if pooling == "y_avgpool":
        return nn.Sequential(nn.AdaptiveAvgPool2d((1, side)), flat), units * side
    if pooling == "max_fc":
        hidden = nn.Linear(units, HIDDEN, bias=False)
        return nn.Sequential(nn.AdaptiveMaxPool2d(1), flat, hidden, nn.BatchNorm1d(HIDDEN), nn.ReLU()), HIDDEN
    if pooling == "masks":
        return SpatialMasks(masks, side), masks * units
    if pooling == "mask":
        return nn.Sequential(ElementMask(units, side), nn.AdaptiveAvgPool2d(1), flat), units
    return ChannelGroups(units, side, GROUPS, GROUP_WIDTH), GROUPS * GROUP_WIDTH


def banding_net(
    num_classes: int = 1001,
    pooling: Pooling = "gap",
    masks: int = 3,
    coordinates: bool = False,
    width: float = 1.0,
    size: int = 224,
) -> nn.Module:
    """The simplified network; the options are the article's changes to it.

    `pooling`: gap; fc (no pooling: the last layer sees every place); x_avgpool (each row averaged) and y_avgpool (each column, never
    run there); max_fc (global maximum, a layer of 4096); masks (`masks` learned spatial weightings: 3, 5 or 16 there); mask (one weight
    for each element, then gap); groups (16 groups of channels, a layer for each). `coordinates` puts coordinate channels before 5a
    and 5b. `width` scales all widths (ours, for small runs); `size` is the side of the image in px.

    Raises: BadOption.
    """
    if pooling not in get_args(Pooling):
        raise BadOption(f"The banding network has no pooling '{pooling}'.{did_you_mean(str(pooling), get_args(Pooling))}")
    if size < 32 or size % 32 or masks < 1 or width <= 0:
        raise BadOption(
            f"The banding network takes size in multiples of 32, masks of 1 or more, width above 0; given were {size}, {masks}, "
            f"{width}."
        )
    return BandingNet(num_classes, pooling, masks, coordinates, width, size)
