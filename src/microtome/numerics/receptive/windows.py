"""Receptive fields after sliding windows: convolutions, plain and transposed, pooling, interpolation, padding."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from microtome.numerics.receptive.geometry import Where
from microtome.numerics.receptive.positions import as_pair
from microtome.numerics.receptive.reach import OpContext, Reach, join_parts, unknown_reach
from microtome.numerics.receptive.sliding import (
    NOT_SEEN,
    adaptive_bins,
    extend_ends,
    interpolation_taps,
    read_by,
    slide_transposed,
    slide_windows,
)
from microtome.numerics.receptive.sums import grow_whole


def _map_sides(
    parts: Sequence[Tensor], where: Where, move: Callable[[Tensor, int, int, float], Tensor], sides: Any
) -> list[Tensor]:
    """`move(part, dim, axis, step)` along rows and columns of each part, wherever its values differ along them."""
    steps = (-where.row.jump, where.row.jump, -where.col.jump, where.col.jump)
    moved: list[Tensor] = []
    for place, part in enumerate(parts):
        for axis in (0, 1):
            dim, own = part.dim() - 2 + axis, place // 2 == axis
            if part.shape[dim] > 1 or (own and sides[axis] == 1):  # otherwise the same everywhere, so also in every window
                part = move(part, dim, axis, steps[place] if own else 0.0)
        moved.append(part)
    return moved


def _slide_parts(context: OpContext, parts: Sequence[Tensor], how: tuple[tuple[int, int], ...], back: bool = False) -> Reach:
    """Parts under a sliding window: `how` holds (kernel, stride, padding, dilation), each (rows, cols)."""
    x, made = cast(Tensor, context.args[0]), context.made[0]
    where = context.where(x).regrid((int(x.shape[-2]), int(x.shape[-1])))
    kernel, stride, padding, dilation = how
    slide = slide_transposed if back else slide_windows

    def move(part: Tensor, dim: int, axis: int, step: float) -> Tensor:
        return slide(
            part, dim, int(made.shape[axis - 2]), kernel=kernel[axis], stride=stride[axis], before=padding[axis],
            dilation=dilation[axis], step=step,
        )  # fmt: skip

    jumps = (where.row.jump, where.col.jump)
    shade = cast(Reach, context.shade(x))
    taps = [-(-k // s) - 1 if back else (k - 1) * d for k, s, d in zip(kernel, stride, dilation, strict=True)]
    small = (shade.small[0] + taps[0] * jumps[0], shade.small[1] + taps[1] * jumps[1])
    plain = kernel == (1, 1) and stride == (1, 1) and padding == (0, 0)
    moved = parts if plain else _map_sides(parts, where, move, (int(x.shape[-2]), int(x.shape[-1])))
    return join_parts(context, moved, small)


def convolution(context: OpContext) -> list[Reach]:
    x, weight = cast(Tensor, context.args[0]), cast(Tensor, context.args[1])
    shade = context.shade(x)
    if shade is None or x.dim() > 4:
        return unknown_reach(context)
    transposed, groups = bool(context.argument(6, "transposed", False)), int(context.argument(8, "groups", 1))
    outputs = int(context.made[0].shape[1])
    parts = [_max_over_group(part, groups, outputs) for part in shade.parts]
    stride, padding, dilation = (context.argument(3 + i, name, 1) for i, name in enumerate(("stride", "padding", "dilation")))
    if x.dim() == 3:  # along a sequence, such as the units of a gate
        how = [int(pair[0]) for pair in (stride, padding, dilation)]
        side = int(context.made[0].shape[2])
        parts = [
            slide_windows(part, 2, side, kernel=int(weight.shape[2]), stride=how[0], before=how[1], dilation=how[2], step=0.0)
            if part.shape[2] > 1 and not transposed else part.amax(2, keepdim=True) for part in parts
        ]  # fmt: skip
        made = join_parts(context, parts)
    else:
        kernel = (int(weight.shape[2]), int(weight.shape[3]))
        made = _slide_parts(context, parts, (kernel, as_pair(stride), as_pair(padding), as_pair(dilation)), back=transposed)
    dynamic = context.shade(weight) is not None  # kernels mixed by the image itself act like gates
    return [replace(made, gated=made.gated or dynamic, single=shade.single)]


def _max_over_group(part: Tensor, groups: int, outputs: int) -> Tensor:
    """The largest ends over the units that each of `outputs` units reads."""
    if part.shape[1] == 1:
        return part
    if groups == 1:
        return part.amax(1, keepdim=True)
    most = part.unflatten(1, (groups, part.shape[1] // groups)).amax(2)
    return most.repeat_interleave(outputs // groups, 1)


def pooling(context: OpContext) -> list[Reach]:
    shade = cast(Reach, context.shade(context.args[0]))
    kernel = as_pair(context.args[1])
    stride = as_pair(context.argument(2, "stride", None) or kernel)
    dilation = as_pair(context.argument(4, "dilation", 1)) if "max" in context.name else (1, 1)
    made = _slide_parts(context, shade.parts, (kernel, stride, as_pair(context.argument(3, "padding", 0)), dilation))
    return [replace(made, single=shade.single)] * len(context.made)


def adaptive_pooling(context: OpContext) -> list[Reach]:
    x, made = cast(Tensor, context.args[0]), context.made[0]
    shade, where = cast(Reach, context.shade(x)), context.where(x)
    out, sides = (int(made.shape[-2]), int(made.shape[-1])), (int(x.shape[-2]), int(x.shape[-1]))
    ratios = [(side / count - 1) * axis.jump for side, count, axis in zip(sides, out, (where.row, where.col), strict=True)]
    parts = _map_sides(shade.parts, where, lambda part, dim, axis, step: adaptive_bins(part, dim, out[axis]), (0, 0))
    small = (shade.small[0] + max(0.0, ratios[0]), shade.small[1] + max(0.0, ratios[1]))
    after = replace(shade, parts=tuple(parts), small=small)
    after = grow_whole(context, x, shade, after, (out[0] == 1, out[1] == 1))
    return [replace(after, single=out == (1, 1))] * len(context.made)


def resizing(context: OpContext) -> list[Reach]:
    """Interpolation of any kind: which positions are mixed is read off the operation itself."""
    x, made = cast(Tensor, context.args[0]), context.made[0]
    shade, where = cast(Reach, context.shade(x)), context.where(x)
    taps = [_mixed_cells(context, int(x.shape[axis - 2]), int(made.shape[axis - 2]), axis) for axis in (0, 1)]
    parts = _map_sides(shade.parts, where, lambda part, dim, axis, step: interpolation_taps(part, dim, taps[axis]), (0, 0))
    jumps = where.regrid((int(x.shape[-2]), int(x.shape[-1])))
    reach = [float((tap.amax(1) - tap.amin(1)).max()) for tap in taps]
    small = (shade.small[0] + reach[0] * jumps.row.jump, shade.small[1] + reach[1] * jumps.col.jump)
    return [replace(shade, parts=tuple(parts), small=small)]


def _mixed_cells(context: OpContext, count: int, out: int, axis: int) -> Tensor:
    """(output position, tap): the positions of `count` that the operation mixes into each of `out`, found with one-hot rows."""
    rest = [arg for arg in context.args[2:] if isinstance(arg, bool)]  # align_corners, where the operation has it
    scales = [arg for arg in context.args[2:] if not isinstance(arg, bool)]
    scale = scales[axis] if len(scales) == 2 else None
    # two columns: torch's antialiased kernels misread one alone
    one_hot = torch.eye(count)[None, :, :, None].repeat(1, 1, 1, 2)
    return read_by(getattr(torch.ops.aten, context.name).default(one_hot, [out, 2], *rest, scale, None)[0, :, :, 0].T)


def unfolding(context: OpContext) -> list[Reach]:
    """im2col: every window as a column of its positions, unit by unit; the map goes on in the padding."""
    x = cast(Tensor, context.args[0])
    shade = cast(Reach, context.shade(x))
    where = context.where(x).regrid((int(x.shape[-2]), int(x.shape[-1])))
    padding = as_pair(context.args[3])
    wide = _map_sides(
        [part.expand(1, *x.shape[1:]) for part in shade.parts], where,
        lambda part, dim, axis, step: extend_ends(part, dim, padding[axis], padding[axis], step), (1, 1),
    )  # fmt: skip
    parts = tuple(context.func(part, *context.args[1:3], [0, 0], *context.args[4:]) for part in wide)
    return [replace(shade, parts=parts)]  # each element is one position: the sum over units that follows makes the path longer


def padding(context: OpContext) -> list[Reach]:
    """Padding continues the image along rows and columns, and is nothing elsewhere; listed from the last axis backwards."""
    x = cast(Tensor, context.args[0])
    shade, where = cast(Reach, context.shade(x)), context.where(x)
    amounts = [int(arg) for arg in context.args[1]]
    jumps = (where.row.jump, where.col.jump)
    parts: list[Tensor] = []
    for place, part in enumerate(shade.parts):
        for pair in range(len(amounts) // 2):
            dim, before, after = x.dim() - 1 - pair, amounts[2 * pair], amounts[2 * pair + 1]
            axis = where.dims.index(dim) if where.dims is not None and dim in where.dims else None
            if (before, after) == (0, 0) or (axis is not None and part.shape[dim] == 1 and x.shape[dim] > 1):
                continue
            if axis is None:
                wide = part.expand(*[x.shape[d] if d == dim else part.shape[d] for d in range(x.dim())])
                kept = wide.narrow(dim, max(0, -before), wide.shape[dim] - max(0, -before) - max(0, -after))
                edges = [torch.full_like(kept.narrow(dim, 0, 1), NOT_SEEN)] * 2
                repeated = [e.repeat_interleave(max(0, n), dim) for e, n in zip(edges, (before, after), strict=True)]
                part = torch.cat([repeated[0], kept, repeated[1]], dim)
            else:
                step = (1 if place % 2 else -1) * jumps[axis] if place // 2 == axis else 0.0
                part = extend_ends(part, dim, before, after, step)
        parts.append(part)
    return [replace(shade, parts=tuple(parts))]
