"""What the patches of an image are embedded as, right before the learned positions are added to them.

The sum itself is looked for among the operations that run, so that it doesn't matter which modules embed the patches, whether they
are called, and whether class tokens were joined before. The forward pass ends there.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.graph.dispatching import Dispatching, tensors_in


def embedded_patches(net: nn.Module, positions: Tensor, x: Tensor, count: int, units: int) -> Tensor | None:
    """The embeddings (image, patch, unit) of the `count` patches of `x` to which `positions`, a tensor of `net`, are added first.

    None where that tensor is added to nothing that comes from `x`, or to something of another shape.
    """
    search = _Sum(x, positions)
    try:
        with torch.no_grad(), search:
            net(x)
    except _Found:
        pass
    embedding = search.embedding
    if embedding is None:
        return None
    if embedding.dim() == 4:
        axis = 3 if embedding.shape[3] == units else 1
        embedding = embedding.movedim(axis, 3).flatten(1, 2)
    return (
        embedding[:, -count:] if embedding.dim() == 3 and embedding.shape[1] >= count and embedding.shape[2] == units else None
    )


class _Found(Exception):
    """Ends the forward pass."""


class _Sum(Dispatching):
    """Looks for the first sum of something computed from `x` and something computed from `positions` alone."""

    def __init__(self, x: Tensor, positions: Tensor) -> None:
        super().__init__()
        self.embedding: Tensor | None = None
        self._of_x = cast("dict[Tensor, bool]", WeakTensorKeyDictionary())  # True: of x; False: of the positions
        self._of_x[x], self._of_x[positions] = True, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = [tensor for tensor in tensors_in((args, kwargs or {})) if tensor in self._of_x]
        kinds = {self._of_x[tensor] for tensor in given}
        if func.overloadpacket.__name__.rstrip("_") == "add" and kinds == {True, False}:
            self.embedding = next(tensor for tensor in given if self._of_x[tensor]).clone()
            raise _Found
        value = func(*args, **(kwargs or {}))
        if kinds:
            for made in tensors_in(value):
                self._of_x[made] = True in kinds
        return value
