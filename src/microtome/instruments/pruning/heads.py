"""Attention heads of a network as groups of channels, and the numbers of its modules that have to change with them, found by rule.

Attention whose heads can be removed is a group of channels given by linear layers for queries, keys and values and read by a linear layer,
below a module with a number of heads (a whole number named with "head", not a size) that divides those channels. Parameters of that
module with an axis as long as the number of heads, as biases of relative positions have, are cut along it.
"""

from collections.abc import Sequence
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


def find_heads(net: nn.Module, groups: Sequence[ChannelGroup]) -> list[Heads]:
    """The attention modules of `net` whose heads can be removed, in the order of the groups."""
    heads: list[Heads] = []
    for group in groups:
        if len(group.readers) != 1 or not all(isinstance(net.get_submodule(path), nn.Linear) for path in group.producers):
            continue
        path, count = _owner_of_heads(net, group)
        if count > 1:
            heads.append(Heads(path, count, group.producers, group.readers[0]))
    return heads


def head_tensors(net: nn.Module, heads: Heads) -> dict[str, int]:
    """Tensors of the attention module outside its linear layers that have one axis as long as the number of heads: path and axis."""
    owner = net.get_submodule(heads.path)
    inside = {id(tensor) for module in owner.modules() if isinstance(module, nn.Linear) for tensor in module.parameters()}
    found: dict[str, int] = {}
    for name, tensor in (*owner.named_parameters(), *owner.named_buffers()):
        axes = [axis for axis, side in enumerate(tensor.shape) if side == heads.count]
        if id(tensor) not in inside and tensor.is_floating_point() and len(axes) == 1:
            found[f"{heads.path}.{name}" if heads.path else name] = axes[0]
    return found


def keep_heads(net: nn.Module, tensors: dict[str, int], kept: Sequence[int]) -> None:
    """Cut these tensors of `net` to the kept heads, in place."""
    for path, axis in tensors.items():
        parent, _, name = path.rpartition(".")
        module = net.get_submodule(parent)
        value = cast(Tensor, getattr(module, name)).detach().index_select(axis, torch.tensor(list(kept)))
        if name in module._parameters:
            module._parameters[name] = nn.Parameter(value)
        else:
            module._buffers[name] = value


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
