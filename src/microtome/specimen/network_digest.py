"""Digests of what a network is: structure, parameters and buffers; and of the axes that were measured of its layers."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from microtome.specimen.layers import Layer


def digest_network(net: nn.Module) -> str:
    """SHA-256 hex digest over structure (paths and classes), parameters and buffers."""
    total = hashlib.sha256()
    for path, module in net.named_modules():
        own = type(module).__name__ + ("" if next(module.children(), None) else module.extra_repr())
        total.update(f"{path}:{own}\n".encode())
    for name, value in sorted(net.state_dict().items()):
        if not isinstance(value, Tensor):  # extra state
            total.update(f"{name}:{_plain_text(value)}\n".encode())
        else:
            total.update(f"{name}:{value.dtype}:{tuple(value.shape)}\n".encode())
            total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def digest_axes(layers: Sequence[Layer]) -> str:
    """A digest over what was measured of the layers' axes; empty where all of them are maps as convolutions give them."""
    if all(layer.layout != "tokens" and layer.arrangement is None for layer in layers):
        return ""
    axes = [(layer.name, layer.layout, layer.shape, layer.grid, layer.prefix, str(layer.arrangement)) for layer in layers]
    return hashlib.sha256(json.dumps(axes).encode()).hexdigest()[:16]


def _plain_text(value: Any) -> str:
    """Extra state of a module as text; what is no plain value counts by its type."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return type(value).__name__
