"""Which vectors are flattened maps: found by following the reshape, not by counting values.

A linear layer behind global pooling reads a vector that has as many values as some map may have had; it sees no map.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.graph.dispatching import Dispatching, tensors_in
from microtome.numerics.receptive.positions import PositionMode

RESHAPED = frozenset(("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten"))


class FlatMap(NamedTuple):
    """The map that a vector holds, and whether its units lie last (row, col, unit) or first."""

    units: int
    rows: int
    cols: int
    units_last: bool = False


class Flattening(Dispatching):
    """While this is entered, `of(tensor)` gives the map that a tensor (image, value) computed from `picture` holds flattened.

    Pointwise operations keep it; whatever mixes values (a product of matrices, pooling, a norm over all of them) ends it.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.places = PositionMode(picture)
        self._picture = picture
        self._known = cast("dict[Tensor, FlatMap]", WeakTensorKeyDictionary())

    def of(self, tensor: Tensor) -> FlatMap | None:
        """The map that the tensor holds, or None where it holds none."""
        return self._known.get(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = list(tensors_in((args, kwargs or {})))
        before = next((self._known[tensor] for tensor in given if tensor in self._known), None)
        value = self.places.__torch_dispatch__(func, types, args, kwargs)
        name = func.overloadpacket.__name__
        for made in tensors_in(value):
            if made.dim() != 2:
                continue
            flat = self._flattened(args[0], made) if name in RESHAPED and before is None else None
            pointwise = torch.Tag.pointwise in func.tags or name in RESHAPED | {"clone", "alias", "detach", "native_dropout"}
            if before is not None and pointwise and made.shape[1] == before.units * before.rows * before.cols:
                flat = before
            if flat is not None:
                self._known[made] = flat
        return value

    def _flattened(self, map_: Tensor, made: Tensor) -> FlatMap | None:
        where = self.places.of(map_)
        if where is None or where.dims is None or map_.dim() != 4 or map_ is self._picture or len(map_) != len(made):
            return None
        last = where.dims == (1, 2)
        rows, cols = (int(map_.shape[dim]) for dim in where.dims)
        return FlatMap(int(map_.shape[3 if last else 1]), rows, cols, last) if rows * cols > 1 else None
