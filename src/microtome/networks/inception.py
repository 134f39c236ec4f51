"""The mini Inception: blocks of four parallel branches and strided reductions, as in Inception-v3, at a hundredth of its size.

Source: Szegedy et al. 2016, arXiv:1512.00567, figures 5 and 10. Built from timm's ConvNormAct; block and branch names are those
of timm's Inception-v3, so that whatever knows one knows the other. Mixed_7b and Mixed_7c keep their input's shape.
"""

import importlib

import torch
from torch import Tensor, nn

from microtome._torchvision import timm


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Module:
    timm()
    layers = importlib.import_module("timm.layers")
    return layers.ConvNormAct(inputs, outputs, kernel_size=kernel, stride=stride, padding=kernel // 2)


class Mixed(nn.Module):
    """Four branches side by side: 1 x 1, 5 x 5, two 3 x 3, and pooling; `width` outputs each, stacked in that order."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = _conv(inputs, width, 1)
        self.branch5x5_1 = _conv(inputs, width, 1)
        self.branch5x5_2 = _conv(width, width, 5)
        self.branch3x3dbl_1 = _conv(inputs, width, 1)
        self.branch3x3dbl_2 = _conv(width, width, 3)
        self.branch3x3dbl_3 = _conv(width, width, 3)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1)
        self.branch_pool = _conv(inputs, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The stacked branches (image, unit, row, col)."""
        fine = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), fine, self.branch_pool(self.pool(x))], 1)


class Reduction(nn.Module):
    """Half the places a side: a strided convolution beside a strided pooling, stacked."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch3x3 = _conv(inputs, width, 3, 2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The stacked branches (image, unit, row, col)."""
        return torch.cat([self.branch3x3(x), self.pool(x)], 1)


class MiniInception(nn.Module):
    """Two plain convolutions, then blocks at 16 and at 8 places a side, each entered through a reduction."""

    def __init__(self, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = 4 * width
        self.Conv2d_1a_3x3 = _conv(3, 16, 3, 2)
        self.Conv2d_2a_3x3 = _conv(16, 16, 3)
        self.Mixed_5a = Reduction(16, 16)
        self.Mixed_5b = Mixed(32, 8)
        self.Mixed_6a = Reduction(32, 32)
        self.Mixed_6b = Mixed(64, width)
        self.Mixed_7a = Mixed(4 * width, width)
        self.Mixed_7b = Mixed(4 * width, width)
        self.Mixed_7c = Mixed(4 * width, width)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """The maps of the last block (image, unit, row, col)."""
        x = self.Mixed_5a(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Mixed_6b(self.Mixed_6a(self.Mixed_5b(x)))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.fc(self.global_pool(self.forward_features(x)).flatten(1))


def mini_inception(num_classes: int, width: int = 16) -> nn.Module:
    """Six blocks of parallel branches; the last four put out 4 x `width` units."""
    return MiniInception(num_classes, width)
