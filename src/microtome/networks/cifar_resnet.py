"""Residual networks for small images: three stages of basic blocks behind one 3 x 3 convolution; of any width, or of a given size.

Source: He et al. 2016, arXiv:1512.03385, sec. 4.2: 6n + 2 layers of 16, 32 and 64 units. Shortcuts that change the shape are 1 x 1
convolutions with batch norm (option B). Module names are those of torchvision's ResNets. Fitting the widths to a number of parameters,
so that a ResNet and a DenseNet of equal size can be compared, is ours.
"""

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn

from microtome.errors import BadOption

TOLERANCE = 0.02  # the largest difference from the number of parameters that was asked for, as a fraction of it


class StageWidths(NamedTuple):
    """Units of the three stages."""

    first: int
    second: int
    third: int

    def parameters(self, blocks: int, num_classes: int) -> int:
        """Parameters of the network of these widths with `blocks` blocks in each stage."""
        count = 27 * self.first + 2 * self.first + (self.third + 1) * num_classes
        before = self.first
        for stage, units in enumerate(self):
            enter = before * units + 2 * units if stage else 0
            count += 9 * before * units + 9 * units**2 + 4 * units + enter + (blocks - 1) * (18 * units**2 + 4 * units)
            before = units
        return count


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm beside a shortcut."""

    def __init__(self, inputs: int, units: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, units, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(units)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(units, units, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(units)
        self.downsample = None
        if stride > 1 or inputs != units:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, units, 1, stride, bias=False), nn.BatchNorm2d(units))

    def forward(self, x: Tensor) -> Tensor:
        """The map (image, unit, row, col)."""
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(branch + (x if self.downsample is None else self.downsample(x)))


class CifarResNet(nn.Module):
    """One convolution, three stages of `blocks` blocks at full, half and quarter resolution, global average pooling."""

    def __init__(self, blocks: int, widths: StageWidths, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.conv1 = nn.Conv2d(3, widths.first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths.first)
        self.relu = nn.ReLU()
        units = widths.first
        for stage, wide in enumerate(widths, start=1):
            layers = [
                BasicBlock(units if not block else wide, wide, 2 if stage > 1 and not block else 1) for block in range(blocks)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*layers))
            units = wide
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(units, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(stage)(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def fitting_widths(parameters: int, blocks: int, num_classes: int) -> StageWidths:
    """The widths, about in the proportion 1 : 2 : 4, that give the number of parameters nearest to `parameters`."""

    def around(quarter: int) -> StageWidths:
        return StageWidths(*(max(1, round(quarter * factor / 4)) for factor in (1, 2, 4)))

    quarter = 4
    while around(quarter).parameters(blocks, num_classes) < parameters:
        quarter += 1
    middle = around(quarter)
    near = (
        StageWidths(*(max(1, w + d) for w, d in zip(middle, moved, strict=True)))
        for moved in itertools.product((0, -1, 1), repeat=3)
    )
    return min(near, key=lambda widths: abs(widths.parameters(blocks, num_classes) - parameters))


def resnet_cifar(num_classes: int = 10, depth: int = 20, width: int = 16, parameters: int = 0) -> nn.Module:
    """Three stages of (depth - 2) / 6 blocks of `width`, 2 `width` and 4 `width` units: 272,474 parameters with the defaults.

    `parameters` chooses the widths instead, for a network of as many parameters (within 2%): those of a DenseNet, say.

    Raises: BadOption.
    """
    if depth < 8 or (depth - 2) % 6:
        lower = max(8, depth - (depth - 2) % 6)
        raise BadOption(f"A ResNet for CIFAR has 2 + 6n layers, which {depth} is not; take {lower} or {lower + 6}.")
    if width < 1 or parameters < 0:
        raise BadOption(
            f"resnet_cifar takes width of 1 or more and parameters of 0 (by width) or more; given were {width}, {parameters}."
        )
    blocks = (depth - 2) // 6
    widths = StageWidths(width, 2 * width, 4 * width)
    if parameters:
        widths = fitting_widths(parameters, blocks, num_classes)
        count = widths.parameters(blocks, num_classes)
        if abs(count - parameters) > TOLERANCE * parameters:
            raise BadOption(
                f"No ResNet of {depth} layers has about {parameters:,} parameters; the nearest has {count:,}. Take another depth."
            )
    return CifarResNet(blocks, widths, num_classes)
