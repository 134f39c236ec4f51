"""Attention heads of a network as groups of channels, and the numbers of its modules that have to change with them, found by rule.

Attention whose heads can be removed is a group of channels given by linear layers for queries, keys and values and read by a linear layer,
below a module with a number of heads (a whole number named with "head", not a size) that divides those channels. Other tensors of that
module that go by heads, as biases of relative positions do, are found by their shapes and cut along with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from microtome.instruments.pruning.dependencies import ChannelGroup

SIZES = ("dim", "size", "width")  # parts of names that count units, not heads


@dataclass(frozen=True)
class Heads:
    """The heads of one attention module: its path, how many there are, the layers that give their channels, the layer that reads them."""

    path: str
    count: int
    givers: tuple[str, ...]
    reader: str


def find_heads(net: nn.Module, groups: Sequence[ChannelGroup], attention: Sequence[str]) -> list[Heads]:
    """The attention modules of `net` whose heads can be removed, in the order of the groups; `attention` are the paths that attend."""
    heads: list[Heads] = []
    inside = tuple(f"{path}." if path else "" for path in attention)
    for group in groups:
        if len(group.readers) != 1 or not group.producers or not all(path.startswith(inside) for path in group.producers):
            continue
        if not all(isinstance(net.get_submodule(path), nn.Linear) for path in group.producers):
            continue
        path, count = _owner_of_heads(net, group)
        if count > 1:
            heads.append(Heads(path, count, group.producers, group.readers[0]))
    readers = {each.reader for each in heads}
    return [each for each in heads if not readers & set(each.givers)]  # what reads the heads gives none


def head_tensors(net: nn.Module, heads: Heads, units: int) -> dict[str, tuple[int, int]]:
    """Tensors of the attention module that are cut along its heads: path, axis, and how many places of the axis belong to each head.

    Those outside of its linear layers with one axis as long as the number of heads or, with one axis only, as the `units` of all heads; and
    linear layers inside that give one number for each head.
    """
    owner = net.get_submodule(heads.path)
    prefix = f"{heads.path}." if heads.path else ""
    cut: dict[str, tuple[int, int]] = {}
    layers = {path: module for path, module in owner.named_modules() if isinstance(module, nn.Linear)}
    inside = {id(tensor) for module in layers.values() for tensor in module.parameters()}
    for name, tensor in (*owner.named_parameters(), *owner.named_buffers()):
        axes = [axis for axis, side in enumerate(tensor.shape) if side == heads.count]
        if id(tensor) in inside or not tensor.is_floating_point():
            continue
        if len(axes) == 1:
            cut[prefix + name] = (axes[0], 1)
        elif tuple(tensor.shape) == (units,):
            cut[prefix + name] = (0, units // heads.count)
    for path, layer in layers.items():
        if layer.out_features == heads.count and prefix + path not in (*heads.givers, heads.reader):
            cut |= {f"{prefix}{path}.{name}": (0, 1) for name, _ in layer.named_parameters()}
    return cut


def keep_heads(net: nn.Module, tensors: Mapping[str, tuple[int, int]], kept: Sequence[int]) -> None:
    """Cut these tensors of `net` to the kept heads, in place."""
    for path, (axis, each) in tensors.items():
        parent, _, name = path.rpartition(".")
        module = net.get_submodule(parent)
        places = [head * each + place for head in kept for place in range(each)]
        value = cast(Tensor, getattr(module, name)).detach().index_select(axis, torch.tensor(places))
        if name in module._parameters:
            module._parameters[name] = nn.Parameter(value)
        else:
            module._buffers[name] = value
        if isinstance(module, nn.Linear):
            module.out_features = len(places)


def set_head_numbers(net: nn.Module, heads: Heads, left: int, units: int, wide: bool) -> None:
    """Write `left` for the number of heads, and the width of the `left` heads for that of all `units`, into the attention module.

    With `wide`, every number that is as large as the units changes, else only those named with "head" or "attn".
    """
    owner = net.get_submodule(heads.path)
    for name, value in list(vars(owner).items()):
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        named = "head" in name or "attn" in name
        if value == heads.count and "head" in name and not any(part in name for part in SIZES):
            setattr(owner, name, left)
        elif value == units and (named or wide):
            setattr(owner, name, units // heads.count * left)


def _owner_of_heads(net: nn.Module, group: ChannelGroup) -> tuple[str, int]:
    """The innermost module around the producers that has a number of heads, and the number; ("", 0) where none has."""
    reader = net.get_submodule(group.readers[0])
    if not isinstance(reader, nn.Linear):
        return "", 0
    parts = group.producers[0].split(".")
    for length in range(len(parts) - 1, -1, -1):
        path = ".".join(parts[:length])
        if not all(producer.startswith(f"{path}." if path else "") for producer in group.producers):
            continue
        for name, value in vars(net.get_submodule(path)).items():
            is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if is_count and "head" in name and not any(part in name for part in SIZES):
                return (path, value) if reader.in_features % value == 0 else ("", 0)
    return "", 0
