"""The tensors in whatever a module returns, and attention that shows its parts while it is watched."""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from microtome.numerics.graph.dispatching import slow_attention as slow_attention


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of whatever a module returned: tensor, list, tuple, dictionary, data class, or an object with `logits`."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str, Any], value)
        return first_tensor(mapping["logits"]) if "logits" in mapping else first_tensor(list(mapping.values()))
    if isinstance(value, list | tuple):
        for part in cast(Sequence[Any], value):
            tensor = first_tensor(part)
            if tensor is not None:
                return tensor
        return None
    if hasattr(value, "logits"):
        return first_tensor(value.logits)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return first_tensor([getattr(value, each.name) for each in dataclasses.fields(value)])
    return None


def output_tensors(value: Any) -> list[Tensor]:
    """The tensors a module returned: one for a tensor, dictionary or data class, one for each element of a list or tuple."""
    if isinstance(value, list | tuple) and not hasattr(value, "logits"):
        tensors = [first_tensor(part) for part in cast(Sequence[Any], value)]
        return [tensor for tensor in tensors if tensor is not None]
    tensor = first_tensor(value)
    return [] if tensor is None else [tensor]


def exchange_tensor(value: Any, old: Tensor, new: Tensor) -> Any:
    """`value` with `new` where `old` was; containers are rebuilt, tensors not."""
    if value is old:
        return new
    if isinstance(value, Mapping):
        mapping = cast(Mapping[str, Any], value)
        changed = {key: exchange_tensor(part, old, new) for key, part in mapping.items()}
        return changed if type(mapping) is dict else cast(Any, type(mapping))(**changed)
    if isinstance(value, list):
        return [exchange_tensor(part, old, new) for part in cast(list[Any], value)]
    if isinstance(value, tuple):
        parts = [exchange_tensor(part, old, new) for part in cast(tuple[Any, ...], value)]
        return cast(Any, type(value))(*parts) if hasattr(value, "_fields") else tuple(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        before: dict[str, Any] = {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
        after = {name: exchange_tensor(part, old, new) for name, part in before.items()}
        changed = copy.copy(value)  # its __init__ may take other arguments
        for name, part in after.items():
            if part is not before[name]:
                object.__setattr__(changed, name, part)
        return changed
    return value
