"""Which input pixels every position of every tensor in a network can depend on: theoretical receptive fields by interval arithmetic.

Nothing is attached to the network: its operations are seen as they run, functional or not, on any path, and each is applied to
the first and last pixels that its operands see. Moving data about (views, windows, rolls, joins) moves those numbers with it; a
window takes the extremes under it; a matrix product, softmax or mean takes the extremes over what it sums. What sums over all
positions of the image (global pooling, attention over all tokens) sees the whole image, and what follows it too.

Two conventions of the literature are kept apart from the truth and told beside it. A *gate* (one number for the whole image
and channel, multiplied in: squeeze-excitation) and the statistics of group norms depend on every pixel, but are not counted:
`gated` says that they were passed. `smallest` is the field along the shortest path, for networks with branches.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 1-5; smallest
path, Richter et al. 2021, arXiv:2106.12307; intervals carried position by position, and the rule on gates, are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.arrays import Array
from microtome.numerics.graph.dispatching import Dispatching, tensors_in
from microtome.numerics.receptive.geometry import Where
from microtome.numerics.receptive.positions import PositionMode
from microtome.numerics.receptive.reach import WHOLE_IMAGE, OpContext, Reach, elementwise, write_view
from microtome.numerics.receptive.rules import RULES
from microtome.numerics.receptive.views import FACTORIES, base_tensor


@dataclass(frozen=True)
class Span:
    """What the positions along one side of the image see: position j the pixels `first[j]` to `last[j]`, both counted in, unclipped.

    `jump` is the distance of neighbouring positions and `start` the pixel on which position 0 is centred (mean over paths); `smallest`
    the length in px of the shortest path's field; `spread` how far apart, in px, the centres of joined paths lie (0: aligned).
    `whole` positions see every pixel of the side, whatever its length.
    """

    first: Int[Array, " position"]
    last: Int[Array, " position"]
    whole: bool
    jump: float
    start: float
    smallest: float
    spread: float
    side: int

    @property
    def size(self) -> float:
        """The length in px of the largest field; infinite where the whole side is seen by construction."""
        return float("inf") if self.whole else float((self.last - self.first).max() + 1)

    def pixels(self, cell: int) -> tuple[int, int]:
        """The first and the last pixel that a position sees, beyond the image's edge where the field reaches there."""
        return (0, self.side - 1) if self.whole else (int(self.first[cell]), int(self.last[cell]))


@dataclass(frozen=True)
class Field:
    """The theoretical receptive field of every position of one layer.

    `gated`: a gate or group statistics on the way depend on every pixel and are not counted in. `exact` is False where an
    operation was met that is not followed; then the fields are taken as large as they could be. `unfollowed` names those.
    `entering` is the (rows, cols) px of what the layer's input sees along the shortest path.
    """

    row: Span
    col: Span
    gated: bool = False
    exact: bool = True
    unfollowed: tuple[str, ...] = ()
    entering: tuple[float, float] = (1.0, 1.0)

    def rows(self, cell: int) -> tuple[int, int]:
        """First and last row that the positions in row `cell` of the grid see, unclipped."""
        return self.row.pixels(cell)

    def cols(self, cell: int) -> tuple[int, int]:
        """First and last column that the positions in column `cell` of the grid see, unclipped."""
        return self.col.pixels(cell)

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of positions."""
        return len(self.row.first), len(self.col.first)

    @property
    def size(self) -> tuple[float, float]:
        """(rows, cols) in px of the largest field; infinite where the whole side is seen by construction."""
        return self.row.size, self.col.size

    @property
    def smallest(self) -> tuple[float, float]:
        """(rows, cols) in px of the field along the shortest path."""
        return self.row.smallest, self.col.smallest

    @property
    def jump(self) -> tuple[float, float]:
        """Distance in px of neighbouring positions, (rows, cols)."""
        return self.row.jump, self.col.jump

    @property
    def center(self) -> tuple[float, float]:
        """The (row, col) pixel on which position (0, 0) is centred; position j lies `jump · j` further."""
        return self.row.start, self.col.start

    @property
    def whole(self) -> bool:
        """Whether each position sees the whole image by construction (attention, global pooling)."""
        return self.row.whole and self.col.whole

    def is_border(self, size: tuple[int, int]) -> bool:
        """Whether the shortest path into the layer covers an image of `size` px, and the layer enlarges it along a side.

        Rows are compared with rows and columns with columns. False where the field is whole by construction.
        """
        full = all(isfinite(into) and into >= side for into, side in zip(self.entering, size, strict=True))
        wider = any(after > before for after, before in zip(self.smallest, self.entering, strict=True))
        return full and wider and not self.whole


class ReachMode(Dispatching):
    """While this is entered, `of(tensor)` gives what each element of any tensor computed from `picture` sees.

    Use it under `torch.no_grad` (in inference mode composite operations are not taken apart) and ask while the tensor lives,
    that is inside a hook. `picture` is (image, channel, row, col); the network may be on the meta device.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        rows, cols = int(picture.shape[2]), int(picture.shape[3])
        down, across = torch.arange(rows, dtype=torch.float32), torch.arange(cols, dtype=torch.float32)
        down, across = down.reshape(1, 1, rows, 1), across.reshape(1, 1, 1, cols)
        self.places = PositionMode(picture)
        self.size = (rows, cols)
        self._known = cast("dict[Tensor, Reach]", WeakTensorKeyDictionary())
        self._known[picture] = Reach((-down, down, -across, across))

    def of(self, tensor: Tensor) -> tuple[Reach, Where] | None:
        """What the elements of `tensor` see and where its positions lie, or None where it does not descend from the image."""
        shade, where = self._known.get(tensor), self.places.of(tensor)
        return None if shade is None or where is None else (shade, where)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        given = [tensor for tensor in tensors_in((args, named)) if tensor in self._known]
        # an in-place operation changes its first operand's entry, so both are read before it runs
        before = [(tensor, self._known[tensor], self.places.of(tensor)) for tensor in given]
        value = self.places.__torch_dispatch__(func, types, args, named)
        made = list(tensors_in(value))
        name = func.overloadpacket.__name__
        if name == "copy_" and any(tensor is args[1] for tensor, _, _ in before):
            before = [part for part in before if part[0] is not args[0] or args[0] is args[1]]  # what was there is gone
        if before and made and name not in FACTORIES:
            context = OpContext(func, name, args, named, before, made, self.size)
            rule = RULES.get(name) or RULES.get(name.rstrip("_")) or elementwise
            for tensor, shade in zip(made, rule(context), strict=True):
                self._known[tensor] = shade
            base = base_tensor(args[0]) if name.endswith("_") and args and isinstance(args[0], Tensor) else None
            if base is not None and args[0] in self._known:
                self._known[base] = write_view(self._known.get(base), base, args[0], self._known[args[0]])
        return value


def field_of(maps: Sequence[Tensor], shade: Reach, where: Where, size: tuple[int, int]) -> Field:
    """The field that `maps`, the four parts of `shade` as (image, unit, row, col), amount to in an image of `size` px."""
    spans: list[Span] = []
    for place, axis in enumerate((where.row, where.col)):
        low, high = maps[2 * place], maps[2 * place + 1]
        over = (0, 1, 3 - place)
        first, last = -low.amax(over), high.amax(over)
        every = first < -WHOLE_IMAGE / 2  # of some positions only, for example of those in windows that hold all others
        first, last = torch.where(every, 0.0, first), torch.where(every, float(size[place] - 1), last)
        seen = first <= last  # positions that are constant see nothing; told as a field of no pixel
        begin = torch.where(seen, first, 0.0).round().long()
        end = torch.where(seen, last, -1.0).round().long()
        pair, whole = (np.asarray(begin), np.asarray(end)), bool(every.all())
        axis = axis.regrid(len(pair[0]))
        smallest = float("inf") if whole and shade.small[place] > WHOLE_IMAGE / 2 else shade.small[place]
        spans.append(Span(pair[0], pair[1], whole, axis.jump, axis.start, smallest, axis.spread, size[place]))
    return Field(spans[0], spans[1], shade.gated, shade.exact, shade.unfollowed)


def expand_parts(shade: Reach, shape: Sequence[int]) -> list[Tensor]:
    """The four parts of `shade` with the full shape of its tensor."""
    return [part.expand(*shape) for part in shade.parts]


__all__ = ["Field", "ReachMode", "Span", "expand_parts", "field_of"]
