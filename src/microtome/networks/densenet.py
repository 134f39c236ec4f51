"""The mini DenseNet: timm's own DenseNet-BC, three dense blocks, growth rate 12.

Source: Huang et al. 2017, arXiv:1608.06993. The second transition does not pool, so that the last block sees 8 x 8 places.
"""

import importlib
from typing import Any

from torch import nn

from microtome._torchvision import timm


def mini_densenet(num_classes: int, **options: Any) -> nn.Module:
    """Dense blocks of 4, 6 and 6 layers that add 12 units each."""
    timm()
    family = importlib.import_module("timm.models.densenet")
    settings: dict[str, Any] = {"growth_rate": 12, "block_config": (4, 6, 6), "bn_size": 2}
    net = family.DenseNet(num_classes=num_classes, **(settings | options))
    net.features.transition2.pool = nn.Identity()
    return net
