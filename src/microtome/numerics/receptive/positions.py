"""Following the positions of a grid through the operations of a network: where each tensor's positions lie in the image.

Nothing is attached to the network: the operations themselves are seen as they run, functional or not, on any path.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 3-5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.graph.dispatching import Dispatching, tensors_in
from microtome.numerics.receptive.geometry import Axis, Where
from microtome.numerics.receptive.views import FACTORIES, base_tensor, view_region

MAX_PATHS = 1e150  # paths double with every shortcut; beyond this only their ratio matters


class PositionMode(Dispatching):
    """While this is entered, `of(tensor)` gives where the positions of any tensor computed from `picture` lie.

    Use it under `torch.no_grad` (in inference mode composite operations are not taken apart) and ask while the tensor lives,
    that is inside a hook. `picture` is (image, channel, row, col). What is written into a part of a tensor in place is followed
    into that tensor; views of it that were taken before keep what they had.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        rows, cols = picture.shape[2:4]
        self._known = cast("dict[Tensor, Where]", WeakTensorKeyDictionary())
        self._known[picture] = Where(Axis(0.0, 1.0, rows), Axis(0.0, 1.0, cols))
        self._written = cast("dict[Tensor, int]", WeakTensorKeyDictionary())  # elements of the write that its place is from

    def of(self, tensor: Tensor) -> Where | None:
        """Where the tensor's positions lie, or None where it does not descend from the image."""
        return self._known.get(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        value = func(*args, **(kwargs or {}))
        parents = [self._known[tensor] for tensor in tensors_in((args, kwargs or {})) if tensor in self._known]
        name = func.overloadpacket.__name__
        if parents and name not in FACTORIES:
            joined = _merge_parents(parents)
            rule = _RULES.get(name)
            if name == "copy_":
                self._write(args[0], self._known.get(args[1]), args[1])
                return value
            for made in tensors_in(value):
                self._known[made] = _fit_dims(rule(joined, args, kwargs or {}, made) if rule else joined, made)
            if name.endswith("_"):
                self._write(args[0], joined)
        return value

    def _write(self, target: Tensor, where: Where | None, source: Tensor | None = None) -> None:
        """What lies at `where` is written into `target`, which may be a part of a larger tensor.

        That tensor's positions then lie as the largest part says; where another part lies elsewhere, they have no one place. A part
        copied within one tensor (as circular padding does) continues what is there and moves nothing.
        """
        base = base_tensor(target)
        if where is None or (source is not None and base is not None and base is base_tensor(source)):
            return
        where = _fit_dims(where, target)
        if base is None:
            self._known[target] = where
            return
        known = self._known.get(base)
        placed = _extend_to_base(where, target, base)
        if placed is None:
            self._known[base] = _mark_inexact(known or where)
        elif known is None or known.row.count * known.col.count == 1:
            self._known[base], self._written[base] = placed, target.numel()
        elif (placed.row, placed.col) != (known.row, known.col):
            larger = target.numel() > self._written.get(base, base.numel())
            self._known[base] = _mark_inexact(placed if larger else known)


def _merge_parents(parents: list[Where]) -> Where:
    """The mean of the finest parents over paths: where a gate of one position meets a map, the map's positions are meant."""
    finest = max(parent.row.count * parent.col.count for parent in parents)
    same = [parent for parent in parents if parent.row.count * parent.col.count == finest]
    if len(same) == 1 or any(where.counts != same[0].counts for where in same):
        return same[0]
    weights = [where.paths for where in same]
    rows, cols = _mean_axis([where.row for where in same], weights), _mean_axis([where.col for where in same], weights)
    return Where(rows, cols, same[0].dims, min(sum(weights), MAX_PATHS))


def _mean_axis(axes: list[Axis], weights: list[float]) -> Axis:
    first = axes[0]
    if all(axis == first for axis in axes):
        return first  # no rounding where nothing differs
    shares = [weight / sum(weights) for weight in weights]
    apart = max(float(np.abs(axis.centres - first.centres).max()) for axis in axes)
    return Axis(
        sum(axis.start * share for axis, share in zip(axes, shares, strict=True)),
        sum(axis.jump * share for axis, share in zip(axes, shares, strict=True)),
        first.count,
        max(apart, *(axis.spread for axis in axes)),
        all(axis.exact for axis in axes),
    )


def _fit_dims(where: Where, made: Tensor) -> Where:
    """`where` with the dimensions of `made` that hold its rows and columns."""
    shape = tuple(made.shape)
    fits = [dims for dims in ((2, 3), (1, 2)) if made.dim() == 4 and (shape[dims[0]], shape[dims[1]]) == where.counts]
    if where.dims in fits:
        return where
    return replace(where, dims=fits[0] if fits else None)


def _extend_to_base(where: Where, part: Tensor, base: Tensor) -> Where | None:
    """Where the positions of `base` lie if those of its `part` lie at `where`; None where that is not known."""
    spot = view_region(part, base)
    if spot is None or where.dims is None:
        return None
    axes: list[Axis] = []
    for axis, dim in zip((where.row, where.col), where.dims, strict=True):
        jump = axis.jump / spot.step[dim]
        axes.append(replace(axis, start=axis.start - spot.first[dim] * jump, jump=jump, count=int(base.shape[dim])))
    return replace(where, row=axes[0], col=axes[1])


def _mark_inexact(where: Where) -> Where:
    return replace(where, row=replace(where.row, exact=False), col=replace(where.col, exact=False))


Rule = Callable[[Where, Sequence[Any], Mapping[str, Any], Tensor], Where]


def argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str, default: Any) -> Any:
    """The argument at `place`, or of that name, or its default."""
    return args[place] if len(args) > place else kwargs.get(name, default)


def as_pair(value: Any) -> tuple[int, int]:
    """(rows, cols) of an argument that is one number or two."""
    given = [int(number) for number in value] if isinstance(value, list | tuple) else [int(value)]
    return given[0], given[-1]


def _entering_grid(where: Where, args: Sequence[Any]) -> Where:
    """`where` on the grid that the operation really gets: reshaping may have merged or split positions before it."""
    shape = cast(Tensor, args[0]).shape
    return where.regrid((int(shape[-2]), int(shape[-1])))


def _window_positions(where: Where, made: Tensor, windows: tuple[tuple[int, int], ...]) -> Where:
    """Positions after a sliding window; `windows` holds (kernel, stride, padding, dilation), each (rows, cols)."""
    kernel, stride, padding, dilation = windows
    axes: list[Axis] = []
    for i, axis in enumerate((where.row, where.col)):
        moved = axis.start + ((kernel[i] - 1) * dilation[i] / 2 - padding[i]) * axis.jump
        axes.append(replace(axis, start=moved, jump=axis.jump * stride[i], count=int(made.shape[i - 2])))
    return replace(where, row=axes[0], col=axes[1], dims=(2, 3))


def _convolution(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    weight = cast(Tensor, args[1])
    if made.dim() != 4:
        return where
    where = _entering_grid(where, args)
    stride, padding, dilation = (
        as_pair(argument(args, kwargs, 3 + i, name, 1)) for i, name in enumerate(("stride", "padding", "dilation"))
    )
    kernel = (int(weight.shape[2]), int(weight.shape[3]))
    if not argument(args, kwargs, 6, "transposed", False):
        return _window_positions(where, made, (kernel, stride, padding, dilation))
    axes: list[Axis] = []
    for i, axis in enumerate((where.row, where.col)):
        jump = axis.jump / stride[i]
        moved = axis.start - ((kernel[i] - 1) * dilation[i] / 2 - padding[i]) * jump
        axes.append(replace(axis, start=moved, jump=jump, count=int(made.shape[i - 2])))
    return replace(where, row=axes[0], col=axes[1], dims=(2, 3))


def _max_pool(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    kernel = as_pair(args[1])
    stride = as_pair(argument(args, kwargs, 2, "stride", None) or kernel)
    windows = (
        kernel,
        stride,
        as_pair(argument(args, kwargs, 3, "padding", 0)),
        as_pair(argument(args, kwargs, 4, "dilation", 1)),
    )
    return _window_positions(_entering_grid(where, args), made, windows)


def _avg_pool(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    kernel = as_pair(args[1])
    stride = as_pair(argument(args, kwargs, 2, "stride", None) or kernel)
    return _window_positions(
        _entering_grid(where, args), made, (kernel, stride, as_pair(argument(args, kwargs, 3, "padding", 0)), (1, 1))
    )


def _adaptive(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    return _entering_grid(where, args).regrid((int(made.shape[-2]), int(made.shape[-1])))


def _resize(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    """Position j of the result lies at (j + ½) · step - ½ of the given grid, or at j · step where corners are aligned.

    The step is one over the factor where one was given: 32 positions by 0.37 are 11, but 2.70 apart and not 2.91.
    """
    where = _entering_grid(where, args)
    corners = len(args) > 2 and args[2] is True  # upsample_bilinear2d(x, size, align_corners, …); nearest has a number there
    factors = [arg for arg in args[2:] if not isinstance(arg, bool)]
    axes: list[Axis] = []
    for place, (axis, count) in enumerate(zip((where.row, where.col), made.shape[-2:], strict=True)):
        if corners and count > 1:
            axes.append(replace(axis, jump=axis.jump * (axis.count - 1) / (count - 1), count=int(count)))
        else:
            step = 1 / factors[place] if len(factors) == 2 and factors[place] else axis.count / int(count)
            axes.append(replace(axis, start=axis.start + (step - 1) / 2 * axis.jump, jump=axis.jump * step, count=int(count)))
    return replace(where, row=axes[0], col=axes[1], dims=(2, 3))


def _unfold(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    """im2col(x, kernel, dilation, padding, stride): one column for each window, row by row."""
    where = _entering_grid(where, args)
    windows = tuple(as_pair(args[place]) for place in (1, 4, 3, 2))
    kernel, stride, padding, dilation = windows
    sides = [axis.count + 2 * padding[i] - (kernel[i] - 1) * dilation[i] - 1 for i, axis in enumerate((where.row, where.col))]
    rows, cols = (side // stride[i] + 1 for i, side in enumerate(sides))
    return replace(_window_positions(where, torch.empty(1, 1, rows, cols, device="meta"), windows), dims=None)


def _pad(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    """Padding is listed from the last dimension backwards: (left, right, top, bottom, …)."""
    amounts = [int(arg) for arg in args[1]]
    if where.dims is None:
        return where
    axes: list[Axis] = []
    for axis, dim in zip((where.row, where.col), where.dims, strict=True):
        place = 2 * (made.dim() - 1 - dim)
        before, after = (amounts[place : place + 2] + [0, 0])[:2]
        axes.append(replace(axis, start=axis.start - before * axis.jump, count=axis.count + before + after))
    return replace(where, row=axes[0], col=axes[1])


def _slice(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    dim = int(argument(args, kwargs, 1, "dim", 0)) % made.dim()
    if where.dims is None or dim not in where.dims:
        return where
    begin, step = int(argument(args, kwargs, 2, "start", 0) or 0), int(argument(args, kwargs, 4, "step", 1))
    place = where.dims.index(dim)
    axis = (where.row, where.col)[place]
    begin = begin + axis.count if begin < 0 else begin
    cut = replace(axis, start=axis.start + begin * axis.jump, jump=axis.jump * step, count=int(made.shape[dim]))
    return replace(where, row=cut) if place == 0 else replace(where, col=cut)


def _flip_or_turn(where: Where, args: Sequence[Any], kwargs: Mapping[str, Any], made: Tensor) -> Where:
    if where.dims is None:
        return where
    order = [int(arg) % made.dim() for arg in args[1]]
    return replace(where, dims=(order.index(where.dims[0]), order.index(where.dims[1])))


_RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "_convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive,
    "upsample_nearest2d": _resize,
    "_upsample_nearest_exact2d": _resize,
    "upsample_bilinear2d": _resize,
    "upsample_bicubic2d": _resize,
    "_upsample_bilinear2d_aa": _resize,
    "_upsample_bicubic2d_aa": _resize,
    "_upsample_lanczos2d_aa": _resize,
    "im2col": _unfold,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "slice": _slice,
    "permute": _flip_or_turn,
}  # fmt: skip
