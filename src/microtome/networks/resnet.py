"""The mini residual networks: timm's own ResNet with basic blocks, without and with squeeze-and-excitation.

Source: He et al. 2016, arXiv:1512.03385; Hu et al. 2018, arXiv:1709.01507; three 3 x 3 convolutions as stem: He et al. 2019,
arXiv:1812.01187. The last two stages keep 8 x 8 places, so that a map of the last layer is as fine as those of the
other mini networks.
"""

import importlib
from typing import Any

from torch import nn

from microtome._torchvision import timm


def mini_resnet(num_classes: int, **options: Any) -> nn.Module:
    """Four stages of 1, 1, 2 and 3 basic blocks with 24 to 48 units; `zero_init_last=False` is timm's option."""
    timm()
    family = importlib.import_module("timm.models.resnet")
    settings: dict[str, Any] = {
        "layers": (1, 1, 2, 3),
        "channels": (24, 32, 40, 48),
        "stem_type": "deep",
        "stem_width": 8,
        "output_stride": 8,
    }
    net = family.ResNet(family.BasicBlock, num_classes=num_classes, **(settings | options))
    for conv in [*net.layer3.modules(), *net.layer4.modules()]:
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
            conv.dilation, conv.padding = (
                (1, 1),
                (1, 1),
            )  # timm dilates what it does not stride; 8 places have no room for holes
    return net


def mini_seresnet(num_classes: int, **options: Any) -> nn.Module:
    """The same network with a squeeze-and-excitation gate at the end of every branch."""
    return mini_resnet(num_classes, **({"block_args": {"attn_layer": "se"}} | options))
