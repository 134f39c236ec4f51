"""Seeing every operation that a network runs, attention in its parts, and the tensors in what it is given and gives."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Dispatching(TorchDispatchMode):
    """A dispatch mode that does not wake the compiler; what is done with each operation is the subclass' `__torch_dispatch__`."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # else the first operation imports the whole compiler (seconds) only to shield this mode from it
        return False


@contextmanager
def slow_attention() -> Generator[None]:
    """Meanwhile `nn.TransformerEncoderLayer` runs its modules one by one, not a fused kernel that skips every hook and count."""
    mha = cast(Any, torch.backends).mha
    before = bool(mha.get_fastpath_enabled())
    mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        mha.set_fastpath_enabled(before)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(list(cast(Mapping[Any, Any], value).values()))
    elif isinstance(value, list | tuple):
        for part in cast(Sequence[Any], value):
            yield from tensors_in(part)
