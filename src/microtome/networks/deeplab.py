"""The mini DeepLab: a small residual backbone with dilated last stages, and parallel atrous branches that classify every pixel.

The feature side is M = side / output stride: 16 for 64 px at the default stride of 4. Rates (2, 5, 7) are r_max · (1/3, 2/3, 1) with
r_max = floor((M - 1) / 2) = 7, so that the widest branch, seen from the middle, just reaches the border. That rule is ours; DeepLab's
own (6, 12, 18) at 513 px and stride 16 (M = 33) follow it within 12%, but at M = 16 a rate of 18 would leave a branch nothing
except its middle tap. Try it: `microtome:mini_deeplab(rates=(6,12,18))`.

Source: Chen et al. 2017, arXiv:1706.05587, fig. 5 (atrous spatial pyramid pooling with a 1 x 1 and an image-pooling branch, batch
norms, a 1 x 1 projection, bilinear upsampling); dilation in place of strides: Yu & Koltun 2016, arXiv:1511.07122. Blocks are timm's.
"""

import importlib
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from microtome._torchvision import timm
from microtome.errors import BadOption

STEM = 16  # units of the first convolution, which halves the side


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, rate: int = 1) -> nn.Module:
    timm()
    layers = importlib.import_module("timm.layers")
    return layers.ConvNormAct(inputs, outputs, kernel_size=kernel, stride=stride, padding=rate * (kernel // 2), dilation=rate)


def _block(inputs: int, outputs: int, stride: int, first: int, dilation: int) -> nn.Module:
    """timm's basic block; `first` and `dilation` are the rates of its two convolutions."""
    timm()
    family = importlib.import_module("timm.models.resnet")
    shortcut = None if inputs == outputs and stride == 1 else family.downsample_conv(inputs, outputs, 1, stride)
    return family.BasicBlock(inputs, outputs, stride, shortcut, dilation=dilation, first_dilation=first)


class Backbone(nn.Module):
    """A stem and one residual block per entry of `units`; a block with another width than the one before begins a stage.

    A stage halves the side until the output stride is reached; later ones double the dilation instead. As in timm's dilated
    networks, the first convolution of a stage still has the rate of the stage before.
    """

    def __init__(self, units: Sequence[int], output_stride: int) -> None:
        super().__init__()
        self.stem = _conv(3, STEM, 3, 2)
        blocks: list[nn.Module] = []
        inputs, reached, rate = STEM, 2, 1
        for width in units:
            begins = width != inputs or not blocks
            stride = 2 if begins and reached < output_stride else 1
            first, rate = rate, 2 * rate if begins and stride == 1 else rate
            blocks.append(_block(inputs, width, stride, first, rate))
            inputs, reached = width, reached * stride
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """The last maps (image, unit, row, col), `output_stride` px apart."""
        return self.blocks(self.stem(x))


class ImagePooling(nn.Module):
    """The mean over all places, through a 1 x 1 convolution, back on every place."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = _conv(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (image, unit, row, col) that are the same everywhere."""
        return self.conv(self.pool(x)).expand(-1, -1, *x.shape[2:])


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1 x 1 branch, one 3 x 3 branch per rate, the mean of the image; stacked and projected."""

    def __init__(self, inputs: int, width: int, rates: Sequence[int], pooling: bool) -> None:
        super().__init__()
        atrous = [_conv(inputs, width, 3, rate=rate) for rate in rates]
        self.branches = nn.ModuleList([_conv(inputs, width, 1), *atrous])
        self.pooling = ImagePooling(inputs, width) if pooling else None
        self.project = _conv(width * (len(self.branches) + pooling), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The projected branches (image, unit, row, col)."""
        maps = [branch(x) for branch in self.branches]
        if self.pooling is not None:
            maps.append(self.pooling(x))
        return self.project(torch.cat(maps, 1))


class MiniDeepLab(nn.Module):
    """Backbone, pyramid, a score per class and place, and bilinear upsampling to the side of the image."""

    def __init__(
        self, num_classes: int, rates: Sequence[int], output_stride: int, units: Sequence[int], width: int, pooling: bool
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = Backbone(units, output_stride)
        self.aspp = AtrousPyramid(units[-1], width, rates, pooling)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores (image, class, row, col) of every pixel."""
        scores = self.classifier(self.aspp(self.backbone(x)))
        return functional.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


def mini_deeplab(
    num_classes: int = 11,
    rates: Sequence[int] = (2, 5, 7),
    output_stride: int = 4,
    units: Sequence[int] = (24, 32, 32, 48),
    width: int = 32,
    pooling: bool = True,
) -> nn.Module:
    """A residual backbone with dilated last stages and an atrous pyramid: class 0 is background, 1 to 10 the objects of scenes.

    `rates` of the 3 x 3 branches in places; `output_stride` in px; `units` of each residual block, `width` of each branch;
    `pooling` adds the branch that sees the mean of the whole image.

    Raises: BadOption for rates or widths below 1, none of either, or a stride that is not a power of two the blocks can reach.
    """
    if not rates or not units or min(*rates, *units, width, num_classes) < 1:
        raise BadOption(
            f"mini_deeplab: rates={tuple(rates)}, units={tuple(units)}, width={width}, num_classes={num_classes}: it takes at "
            "least one rate and one block, and every number is 1 or more."
        )
    stages = 1 + sum(one != two for one, two in itertools.pairwise(units))
    strides = [2 ** (number + 1) for number in range(stages + 1)]
    if output_stride not in strides:
        raise BadOption(
            f"mini_deeplab: output_stride is {output_stride}; with {stages} widths in a row it can be {', '.join(map(str, strides))}."
        )
    return MiniDeepLab(num_classes, rates, output_stride, units, width, pooling)
