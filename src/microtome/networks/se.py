"""Squeeze-and-excitation ResNets of any reduction ratio: timm's ResNet and timm's gates.

A gate on C channels has 2 C² / ratio weights; with N blocks of C channels in each stage that is (2 / ratio) · Σ N C² on top of the
ResNet, for ResNet-50 (2 / ratio) · 20,119,552; biases, which the paper's ablations leave out, add Σ N (C + C / ratio).

Source: Hu et al. 2018, arXiv:1709.01507, sec. 3.2 and the table of reduction ratios in sec. 6.1.
"""

import functools
import importlib
from typing import Any

from torch import nn

from microtome._torchvision import timm
from microtome.errors import BadOption

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _se_resnet(depth: int, num_classes: int, ratio: int, bias: bool, options: dict[str, Any]) -> nn.Module:
    if not 1 <= ratio <= 64:
        raise BadOption(f"The ratio of a squeeze-and-excitation gate is {ratio}; it takes 1 to 64.")
    timm()
    family, layers = importlib.import_module("timm.models.resnet"), importlib.import_module("timm.layers")
    gate = functools.partial(layers.SEModule, rd_ratio=1 / ratio, rd_divisor=1, bias=bias)
    block = family.BasicBlock if depth < 50 else family.Bottleneck
    return family.ResNet(block, LAYERS[depth], num_classes=num_classes, block_args={"attn_layer": gate}, **options)


def se_resnet18(num_classes: int = 1000, ratio: int = 16, bias: bool = True, **options: Any) -> nn.Module:
    """ResNet-18 with a gate at the end of every branch."""
    return _se_resnet(18, num_classes, ratio, bias, options)


def se_resnet34(num_classes: int = 1000, ratio: int = 16, bias: bool = True, **options: Any) -> nn.Module:
    """ResNet-34 with a gate at the end of every branch."""
    return _se_resnet(34, num_classes, ratio, bias, options)


def se_resnet50(num_classes: int = 1000, ratio: int = 16, bias: bool = True, **options: Any) -> nn.Module:
    """ResNet-50 with a gate at the end of every branch: 28,088,024 parameters at ratio 16, as timm's seresnet50."""
    return _se_resnet(50, num_classes, ratio, bias, options)


def se_resnet101(num_classes: int = 1000, ratio: int = 16, bias: bool = True, **options: Any) -> nn.Module:
    """ResNet-101 with a gate at the end of every branch."""
    return _se_resnet(101, num_classes, ratio, bias, options)


def se_resnet152(num_classes: int = 1000, ratio: int = 16, bias: bool = True, **options: Any) -> nn.Module:
    """ResNet-152 with a gate at the end of every branch."""
    return _se_resnet(152, num_classes, ratio, bias, options)
