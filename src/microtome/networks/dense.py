"""DenseNets of any depth, growth rate, bottleneck and compression, for ImageNet and for CIFAR.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 3 and table 1: x_l = H_l([x_0 … x_{l-1}]) with H = BN-ReLU-Conv3x3(k); B puts
BN-ReLU-Conv1x1(4k) before it; C lets a transition keep the fraction θ of the maps. Module names are timm's, so that weights of timm's or
torchvision's DenseNets fit the ImageNet forms. The 264 of the largest is the paper's name: its rule of counting gives 265.
"""

import importlib

import torch
from torch import Tensor, nn

from microtome._torchvision import timm
from microtome.errors import BadOption

BLOCKS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32), 264: (6, 12, 64, 48)}


class PlainLayer(nn.Module):
    """A dense layer without bottleneck: BN-ReLU-Conv3x3 over everything before it; it gives `growth` new maps."""

    def __init__(self, inputs: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """New maps (image, unit, row, col) from earlier ones, stacked first where they come as a list."""
        stacked = x if isinstance(x, Tensor) else torch.cat(x, 1)
        return self.drop(self.conv1(self.act1(self.norm1(stacked))))


class DenseNet(nn.Module):
    """A stem, dense blocks of `blocks` layers with transitions between them, a pooled head.

    `bottleneck` is the width of the 1 x 1 convolution in growth rates, 0 for none; `compression` the fraction of maps that a
    transition keeps; `cifar` a single 3 x 3 convolution as stem instead of 7 x 7 and pooling.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        num_classes: int,
        growth: int,
        bottleneck: int,
        compression: float,
        stem: int,
        cifar: bool,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        timm()
        family = importlib.import_module("timm.models.densenet")
        norm_act = importlib.import_module("timm.layers").BatchNormAct2d
        self.num_classes = num_classes
        self.features = nn.Sequential()
        if cifar:
            self.features.add_module("conv0", nn.Conv2d(3, stem, 3, padding=1, bias=False))
        else:
            self.features.add_module("conv0", nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False))
            self.features.add_module("norm0", norm_act(stem))
            self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        width = stem
        for place, layers in enumerate(blocks, start=1):
            block = family.DenseBlock(layers if bottleneck else 0, width, bottleneck, growth, norm_act, dropout)
            for layer in range(0 if bottleneck else layers):
                block.add_module(f"denselayer{layer + 1}", PlainLayer(width + layer * growth, growth, dropout))
            self.features.add_module(f"denseblock{place}", block)
            width += layers * growth
            if place < len(blocks):
                kept = int(compression * width)
                self.features.add_module(f"transition{place}", family.DenseTransition(width, kept, norm_act))
                width = kept
        self.features.add_module("norm5", norm_act(width))
        self.num_features = width
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits (image, class)."""
        return self.classifier(self.global_pool(self.features(x)).flatten(1))


def _imagenet(depth: int, num_classes: int, growth: int, bottleneck: int, compression: float, dropout: float) -> nn.Module:
    _check_options(growth, bottleneck, compression)
    return DenseNet(BLOCKS[depth], num_classes, growth, bottleneck, compression, 2 * growth, False, dropout)


def densenet121(
    num_classes: int = 1000, growth: int = 32, bottleneck: int = 4, compression: float = 0.5, dropout: float = 0.0
) -> nn.Module:
    """Dense blocks of 6, 12, 24 and 16 layers: 7,978,856 parameters with the options of the paper."""
    return _imagenet(121, num_classes, growth, bottleneck, compression, dropout)


def densenet169(
    num_classes: int = 1000, growth: int = 32, bottleneck: int = 4, compression: float = 0.5, dropout: float = 0.0
) -> nn.Module:
    """Dense blocks of 6, 12, 32 and 32 layers: 14,149,480 parameters with the options of the paper."""
    return _imagenet(169, num_classes, growth, bottleneck, compression, dropout)


def densenet201(
    num_classes: int = 1000, growth: int = 32, bottleneck: int = 4, compression: float = 0.5, dropout: float = 0.0
) -> nn.Module:
    """Dense blocks of 6, 12, 48 and 32 layers: 20,013,928 parameters with the options of the paper."""
    return _imagenet(201, num_classes, growth, bottleneck, compression, dropout)


def densenet264(
    num_classes: int = 1000, growth: int = 32, bottleneck: int = 4, compression: float = 0.5, dropout: float = 0.0
) -> nn.Module:
    """Dense blocks of 6, 12, 64 and 48 layers: 33,337,704 parameters with the options of the paper."""
    return _imagenet(264, num_classes, growth, bottleneck, compression, dropout)


def densenet_cifar(
    num_classes: int = 10,
    depth: int = 40,
    growth: int = 12,
    bottleneck: int = 0,
    compression: float = 1.0,
    stem: int = 0,
    dropout: float = 0.0,
) -> nn.Module:
    """Three equal blocks at 32, 16 and 8 places a side: (depth - 4) / 3 layers each, half of that with a bottleneck.

    The plain form is `depth=40, growth=12`; the paper's BC form adds `bottleneck=4, compression=0.5`. `stem` is the width of the
    first convolution: 16, or twice the growth rate in the BC form, where it is left at 0.

    Raises: BadOption.
    """
    _check_options(growth, bottleneck, compression)
    per = 6 if bottleneck else 3
    if depth < 4 + per or (depth - 4) % per:
        lower = max(4 + per, depth - (depth - 4) % per)
        form = "with a bottleneck" if bottleneck else "without a bottleneck"
        raise BadOption(
            f"A DenseNet for CIFAR {form} has 4 + {per}n layers, which {depth} is not; take {lower} or {lower + per}."
        )
    first = stem or (2 * growth if bottleneck and compression < 1 else 16)
    return DenseNet(((depth - 4) // per,) * 3, num_classes, growth, bottleneck, compression, first, True, dropout)


def _check_options(growth: int, bottleneck: int, compression: float) -> None:
    if growth < 1 or bottleneck < 0 or not 0 < compression <= 1:
        raise BadOption(
            f"A DenseNet takes growth of 1 or more, bottleneck of 0 (none) or more, compression above 0 and at most 1; given were "
            f"{growth}, {bottleneck}, {compression}."
        )
