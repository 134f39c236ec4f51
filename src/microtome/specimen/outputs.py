"""The tensors in whatever a module returns, and attention that shows its parts while it is watched."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from microtome.numerics.graph.dispatching import slow_attention as slow_attention


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of whatever a module returned: tensor, list, tuple, dictionary, or an object with `logits`."""
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
    return first_tensor(getattr(value, "logits", None)) if hasattr(value, "logits") else None


def output_tensors(value: Any) -> list[Tensor]:
    """The tensors a module returned, in order: one for a tensor or dictionary, one for each element of a list or tuple."""
    if isinstance(value, list | tuple) and not hasattr(value, "logits"):
        tensors = [first_tensor(part) for part in cast(Sequence[Any], value)]
        return [tensor for tensor in tensors if tensor is not None]
    tensor = first_tensor(value)
    return [] if tensor is None else [tensor]
