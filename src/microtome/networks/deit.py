"""The mini DeiT: timm's own vision transformer, patches of 8 px, a class token, learnt positions.

Source: Dosovitskiy et al. 2021, arXiv:2010.11929; Touvron et al. 2021, arXiv:2012.12877, whose hard distillation from a
convolutional teacher trains it (see the recipe); the single-token form, so that every vision transformer tool fits it.
"""

import importlib
from typing import Any

from torch import nn

from microtome._torchvision import timm


def mini_deit(num_classes: int, **options: Any) -> nn.Module:
    """Six blocks of 64 units and 2 heads over 8 x 8 patches and the class token."""
    timm()
    family = importlib.import_module("timm.models.vision_transformer")
    settings: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": 64, "depth": 6, "num_heads": 2, "mlp_ratio": 3.0}
    net = family.VisionTransformer(num_classes=num_classes, **(settings | options))
    for block in net.blocks:
        block.attn.fused_attn = False  # written out: attention maps can be watched, and heads this small run faster
    return net
