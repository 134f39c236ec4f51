"""Noise in the place of images, and any input, on the network's device and in its dtype."""

import torch
from torch import Tensor, nn

from microtome.specimen.recipe import Recipe


def noise_images(net: nn.Module, recipe: Recipe, count: int, *, seed: int = 0, side: int | None = None) -> Tensor:
    """Seeded noise for `count` images of at most `side` px, on the network's device and in its dtype."""
    size = recipe.size if side is None else (min(side, recipe.size[0]), min(side, recipe.size[1]))
    return to_network(net, torch.randn(count, recipe.channels, *size, generator=torch.Generator().manual_seed(seed)))


def to_network(net: nn.Module, x: Tensor) -> Tensor:
    """The same values on the network's device and in its dtype."""
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return x if first is None else x.to(first.device, first.dtype)
