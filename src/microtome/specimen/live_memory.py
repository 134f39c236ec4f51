"""How many bytes the tensors of a computation hold at once: exact, and the same on every machine, since allocators are left out."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_live_bytes(run: Callable[[], Any]) -> int:
    """The most bytes that the tensors made by `run` hold at once, what it gives back included. Scratch space of kernels is not seen."""
    tracer = _StorageTracer()
    with tracer:
        run()
    return tracer.most


class _StorageTracer(TorchDispatchMode):
    """Counts the bytes of storages made while it is on, from their making to the moment nobody holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor.untyped_storage(), given)
        return made

    def _follow(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._known or place in given or not size:
            return
        self._known.add(place)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        if place in self._known:
            self._known.discard(place)
            self.now -= size
