"""The mini VGG: timm's own VGG with batch norm, seven plain 3 x 3 convolutions and a pooled head.

Source: Simonyan & Zisserman 2015, arXiv:1409.1556. The three wide fully connected layers of the original hold most of its
weights and would be larger than everything else here: the head averages over the places instead.
"""

import importlib
from typing import Any

from torch import nn

from microtome._torchvision import timm

_PLAN = (12, "M", 24, "M", 32, 32, "M", 56, 56, 56)


def mini_vgg(num_classes: int, **options: Any) -> nn.Module:
    """Convolutions of 12 to 56 units at 64, 32, 16 and 8 places a side; `cfg` is timm's plan of widths and pools ("M")."""
    timm()
    family, layers = importlib.import_module("timm.models.vgg"), importlib.import_module("timm.layers")
    settings: dict[str, Any] = {"cfg": list(_PLAN), "norm_layer": nn.BatchNorm2d, "mlp_ratio": 1 / 4096}
    net = family.VGG(num_classes=num_classes, **(settings | options))
    net.pre_logits = nn.Identity()
    net.head_hidden_size = net.num_features
    net.head = layers.ClassifierHead(net.num_features, num_classes, pool_type="avg")
    return net
