"""Which fully connected layers of a specimen read a flattened map, from one forward pass."""

from typing import Any

import torch
from torch import Tensor, nn

from microtome.numerics.receptive.flattening import FlatMap, Flattening
from microtome.specimen import Specimen, watch
from microtome.specimen.noise_images import noise_images


def flattened_maps(specimen: Specimen) -> dict[str, FlatMap]:
    """Path of a linear layer -> the map that its input holds flattened; layers that read anything else are left out."""
    linear = [layer for layer in specimen.layers if isinstance(specimen.net.get_submodule(layer.path), nn.Linear)]
    if not linear:
        return {}
    x = noise_images(specimen.net, specimen.recipe, 2)
    mode = Flattening(x)
    maps: dict[str, FlatMap] = {}
    paths = {layer.name: layer.path for layer in linear}

    def look(name: str, value: Tensor) -> None:
        flat = mode.of(value)
        if flat is not None:
            maps.setdefault(paths[name.removeprefix("<")], flat)

    hooks: Any = watch(specimen, [f"<{name}" for name in paths], each=look)
    with torch.no_grad(), hooks, mode:
        specimen.net(x)
    return maps
