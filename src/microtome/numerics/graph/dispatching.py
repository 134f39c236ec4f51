"""Seeing every operation that a network runs, and the tensors in what it is given and gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Dispatching(TorchDispatchMode):
    """A dispatch mode that does not wake the compiler; what is done with each operation is the subclass' `__torch_dispatch__`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else the first operation imports the whole compiler (seconds) only to shield this mode from it
        return False


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(cast(Mapping[Any, Any], value).values()))
    elif isinstance(value, list | tuple):
        for part in cast(Sequence[Any], value):
            yield from tensors_in(part)
