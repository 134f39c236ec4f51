"""The untrained twins that a specimen keeps, within a limit of memory, and the memory layout that networks run in."""

from collections.abc import Callable, MutableMapping
from typing import Protocol, TypeVar

import torch
from torch import nn

from microtome.free_memory import free_bytes

TWIN_BYTES = 4 << 30  # weights of untrained twins that a specimen keeps at most; the oldest give way
TWIN_FRACTION = 0.25  # of the memory that is free, if that is less


class HasWeights(Protocol):
    """Anything whose weights take memory."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of its parameters."""
        ...


Key = TypeVar("Key")
Twin = TypeVar("Twin", bound=HasWeights)


def kept_twin(known: MutableMapping[Key, Twin], key: Key, weight_bytes: int, build: Callable[[], Twin]) -> Twin:
    """The twin of that key in `known`, built where it is missing; the oldest make room, each takes `weight_bytes`."""
    if key not in known:
        twin = build()
        held = sum(other.weight_bytes for other in known.values())
        limit = min(TWIN_BYTES, TWIN_FRACTION * (free_bytes() + held))
        room = int(max(1, limit // max(1, weight_bytes)))
        for old in list(known)[: max(0, len(known) + 1 - room)]:
            del known[old]
        known[key] = twin
    return known[key]


def to_working_layout(net: nn.Module) -> nn.Module:
    """The network itself, in channels-last memory where convolutions do most of the work."""
    kernels = [parameter for parameter in net.parameters() if parameter.dim() == 4 and parameter.shape[-1] > 1]
    if len(kernels) > 1:  # a plain transformer has one, its patch embedding
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return net
