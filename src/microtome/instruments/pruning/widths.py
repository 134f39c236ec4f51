"""Which entries of every tensor a narrower network keeps, as a record that any network of the same architecture can be cut by.

The record holds, for each tensor that becomes smaller, the kept indices along each axis, and the plain numbers of modules that say how wide
they are (`out_channels`, `num_heads`, `normalized_shape`). Cutting by it needs neither Torch-Pruning nor the weights that decided.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.errors import BadOption, Uneditable

MAX_BYTES = 256 * 2**20  # of a record, unpacked
Kept = tuple[int, ...]


@dataclass(frozen=True)
class Widths:
    """`tensors` has the kept indices by path and axis; `attributes` the numbers of modules that change, by path and name."""

    tensors: Mapping[str, Mapping[int, Kept]]
    attributes: Mapping[str, Mapping[str, Any]]

    def encode(self) -> str:
        """The record as one word of letters, digits and signs."""
        sets: dict[Kept, int] = {}
        tensors = {
            path: {str(axis): sets.setdefault(kept, len(sets)) for axis, kept in sorted(axes.items())}
            for path, axes in sorted(self.tensors.items())
        }
        content = {"sets": [_runs(kept) for kept in sets], "tensors": tensors, "attributes": self.attributes}
        text = json.dumps(content, separators=(",", ":"), sort_keys=True)
        return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode("ascii").rstrip("=")

    @classmethod
    def decode(cls, word: str) -> "Widths":
        """The record in a word that `encode` gave.

        Raises:
            BadOption: it is none.
        """
        try:
            packed = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4))
            content = json.loads(zlib.decompressobj().decompress(packed, MAX_BYTES))
            sets = [tuple(index for first, last in runs for index in range(first, last + 1)) for runs in content["sets"]]
            tensors = {
                str(path): {int(axis): sets[place] for axis, place in axes.items()} for path, axes in content["tensors"].items()
            }
            attributes = {
                str(path): {str(name): _plain_number(value) for name, value in values.items()}
                for path, values in content["attributes"].items()
            }
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, zlib.error) as error:
            raise BadOption(
                "option kept holds no record of kept channels, or a damaged one; leave it out, and the channels are chosen."
            ) from error
        return cls(tensors, attributes)

    def apply(self, net: nn.Module) -> None:
        """Cut the tensors of `net` and set the numbers of its modules, in place.

        Raises:
            Uneditable: the record belongs to another architecture.
        """
        cut: dict[int, Tensor] = {}  # tensors that two modules share stay shared
        for path, axes in self.tensors.items():
            module, name = _owner(net, path)
            tensor = module._parameters.get(name) if name in module._parameters else module._buffers.get(name)
            if tensor is None or any(axis >= tensor.dim() or max(kept) >= tensor.shape[axis] for axis, kept in axes.items()):
                raise Uneditable(f"the kept channels are those of another architecture: '{path}' is missing or too small.")
            if id(tensor) not in cut:
                cut[id(tensor)] = _narrow(tensor, axes)
            if name in module._parameters:
                module._parameters[name] = cast(nn.Parameter, cut[id(tensor)])
            else:
                module._buffers[name] = cut[id(tensor)]
        for path, values in self.attributes.items():
            module = net.get_submodule(path)
            for name, value in values.items():
                if not is_whole_number(getattr(module, name, None)):
                    raise Uneditable(f"the kept channels are those of another architecture: '{path}' has no number '{name}'.")
                setattr(module, name, value)

    def mask(self, net: nn.Module) -> None:
        """Fill with zeros, in place, all that `apply` would cut away; the network keeps its width."""
        with torch.no_grad():
            for path, axes in self.tensors.items():
                module, name = _owner(net, path)
                tensor = cast(Tensor, getattr(module, name))
                for axis, kept in axes.items():
                    gone = torch.ones(tensor.shape[axis], dtype=torch.bool)
                    gone[list(kept)] = False
                    tensor.index_fill_(axis, gone.nonzero()[:, 0].to(tensor.device), 0.0)

    def removed_units(self, net: nn.Module) -> tuple[int, int, int]:
        """Output channels removed, how many these layers of `net` have, and the number of layers: convolutions and linear ones."""
        removed = total = layers = 0
        for path, module in net.named_modules():
            weight = f"{path}.weight"
            if isinstance(module, nn.Conv2d | nn.Linear) and 0 in self.tensors.get(weight, {}):
                removed += module.weight.shape[0] - len(self.tensors[weight][0])
                total += module.weight.shape[0]
                layers += 1
        return removed, total, layers


def widths_between(original: nn.Module, indices: nn.Module, narrow: nn.Module) -> Widths:
    """The record that turns `original` into `narrow`; `indices`, as narrow, holds the index of every kept entry (`fill_with_indices`).

    Raises:
        Uneditable: what was kept of a tensor is not a choice along each of its axes.
    """
    before, after = _tensors(original), _tensors(indices)
    tensors: dict[str, dict[int, Kept]] = {}
    for path, tensor in before.items():
        if path not in after:
            raise Uneditable(f"the tensor '{path}' is gone after pruning.")
        if after[path].shape != tensor.shape:
            tensors[path] = _kept_axes(path, tuple(tensor.shape), after[path])
    attributes: dict[str, dict[str, Any]] = {}
    for path, module in original.named_modules():
        new = vars(narrow.get_submodule(path))
        for name, value in vars(module).items():
            if not name.startswith("_") and is_whole_number(value) and is_whole_number(new.get(name)) and new[name] != value:
                attributes.setdefault(path, {})[name] = _plain_number(new[name])
    return Widths(tensors, attributes)


def fill_with_indices(net: nn.Module) -> None:
    """Give every entry of every float32 tensor of `net` its own flat index, in place, as the bits of an int32, which cutting copies."""
    with torch.no_grad():
        for tensor in _tensors(net).values():
            if tensor.dtype == torch.float32:
                tensor.copy_(torch.arange(tensor.numel(), dtype=torch.int32).view(torch.float32).reshape(tensor.shape))


def is_whole_number(value: Any) -> bool:
    """Whether a value is a whole number, or a tuple or list of such."""
    if isinstance(value, tuple | list):
        return bool(value) and all(is_whole_number(each) for each in cast(Sequence[Any], value))
    return isinstance(value, int) and not isinstance(value, bool)


def _plain_number(value: Any) -> Any:
    if not is_whole_number(value):
        raise TypeError(value)
    return tuple(map(_plain_number, value)) if isinstance(value, tuple | list) else int(value)


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    return {
        **dict(net.named_parameters(remove_duplicate=False)),
        **dict(net.named_buffers(remove_duplicate=False)),
    }


def _kept_axes(path: str, shape: tuple[int, ...], values: Tensor) -> dict[int, Kept]:
    """The kept indices along each axis that became smaller, from the flat indices that are left."""
    if values.numel() == 0 or values.dim() != len(shape) or values.dtype != torch.float32:
        raise Uneditable(f"of the tensor '{path}' nothing, or no choice along its axes, would be left.")
    flat = values.detach().contiguous().view(torch.int32).long()
    places = torch.unravel_index(flat, shape)
    kept: dict[int, Kept] = {}
    rebuilt = torch.zeros_like(flat)
    for axis, place in enumerate(places):
        along = place.movedim(axis, 0).reshape(place.shape[axis], -1)[:, 0]
        step = 1
        for side in shape[axis + 1 :]:
            step *= side
        rebuilt += along.reshape([-1 if each == axis else 1 for each in range(len(shape))]) * step
        if len(along) != shape[axis]:
            kept[axis] = tuple(along.tolist())
    if not torch.equal(rebuilt, flat):
        raise Uneditable(f"what would be kept of the tensor '{path}' is no choice along its axes.")
    return kept


def _owner(net: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, name = path.rpartition(".")
    try:
        return net.get_submodule(parent), name
    except AttributeError:
        raise Uneditable(f"the kept channels are those of another architecture: it has no '{parent}'.") from None


def _narrow(tensor: Tensor, axes: Mapping[int, Kept]) -> Tensor:
    value = tensor.detach()
    for axis, kept in axes.items():
        value = value.index_select(axis, torch.tensor(kept, device=value.device))
    value = value.contiguous()
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value


def _runs(kept: Kept) -> list[list[int]]:
    """Ascending indices as runs [first, last]."""
    runs: list[list[int]] = []
    for index in kept:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return runs


__all__ = ["Widths", "fill_with_indices", "is_whole_number", "widths_between"]
