"""The mini HRNet: three resolutions side by side to the end, made of timm's own high-resolution modules.

Source: Wang et al. 2020, arXiv:1908.07919; the head is the paper's HRNetV2: every branch brought to the finest grid and mixed
by a 1 x 1 convolution. Branches keep 16, 8 and 4 places a side.
"""

import importlib

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from microtome._torchvision import timm


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class MiniHrnet(nn.Module):
    """A stem to a quarter of the side, two resolutions for one module, three for three modules, and the mixing head."""

    def __init__(self, num_classes: int, widths: tuple[int, int, int] = (16, 24, 32)) -> None:
        super().__init__()
        timm()
        family = importlib.import_module("timm.models.hrnet")
        block = importlib.import_module("timm.models.resnet").BasicBlock
        self.num_classes = num_classes
        self.num_features = 64
        first, second, third = widths

        def module(count: int) -> nn.Module:
            width = tuple(widths[:count])
            return family.HighResolutionModule(count, block, (1,) * count, list(width), width, "SUM")

        self.stem = nn.Sequential(_conv(3, first, 3, 2), _conv(first, first, 3, 2))
        self.layer1 = block(first, first)
        self.transition1 = _conv(first, second, 3, 2)
        self.stage2 = nn.Sequential(module(2))
        self.transition2 = _conv(second, third, 3, 2)
        self.stage3 = nn.Sequential(module(3), module(3), module(3))
        self.final_layer = _conv(sum(widths), self.num_features, 1)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(self.num_features, num_classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """The mixed maps of all branches on the finest grid (image, unit, row, col)."""
        x = self.layer1(self.stem(x))
        branches: list[Tensor] = self.stage2([x, self.transition1(x)])
        branches = self.stage3([*branches, self.transition2(branches[-1])])
        side = branches[0].shape[-2:]
        coarse = [interpolate(branch, side, mode="bilinear", align_corners=False) for branch in branches[1:]]
        return self.final_layer(torch.cat([branches[0], *coarse], 1))

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.classifier(self.global_pool(self.forward_features(x)).flatten(1))


def mini_hrnet(num_classes: int, widths: tuple[int, int, int] = (16, 24, 32)) -> nn.Module:
    """Branches of `widths` units; three modules of three resolutions in the last stage."""
    return MiniHrnet(num_classes, widths)
