"""Receptive fields after sums over many elements: means, products of matrices, softmax, attention.

What sums over all positions of the image sees the whole image by construction, however large the image is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from microtome.numerics.receptive.reach import (
    MASKED_LOGIT,
    NEVER_SEEN,
    WHOLE_IMAGE,
    OpContext,
    Reach,
    align,
    elementwise,
    elementwise_max,
    join_parts,
    unknown_reach,
)
from microtome.numerics.receptive.sliding import NOT_SEEN


def grow_whole(
    context: OpContext, x: Tensor, before: Reach, after: Reach, every: tuple[bool, bool] = (False, False), mixing: bool = True
) -> Reach:
    """`after` with the fields that hold all positions of `x` made whole; `every`: all rows or columns were summed, whatever their number.

    Several positions must have been there to tell: a sum over units leaves a position what it was.
    """
    where = context.where(x)
    parts, small = list(after.parts), list(after.small)
    for place, axis in enumerate((where.row, where.col)):
        low, high = parts[2 * place : 2 * place + 2]
        inward = before.parts[2 * place + 1]
        real = inward[inward > NOT_SEEN / 2]
        if real.numel() == 0:
            continue
        top_low, top_high = before.parts[2 * place].max(), inward.max()
        near = torch.full((), every[place])
        if mixing and axis.count > 1 and bool(real.min() < real.max()):
            reaches = (low >= -axis.jump) & (high >= context.size[place] - 1 - axis.jump)
            every_other = reaches & (low >= top_low - axis.jump) & (high >= top_high - axis.jump)
            # tokens of every other position, as in MobileViT, are as good as all, if that holds everywhere; windows leave positions out
            loose = axis.count > 3 and bool((every_other | (high < NOT_SEEN / 2)).all())
            near = near | (every_other if loose else reaches & (low >= top_low) & (high >= top_high))
        if bool(near.any()):
            parts[2 * place], parts[2 * place + 1] = torch.where(near, WHOLE_IMAGE, low), torch.where(near, WHOLE_IMAGE, high)
            small[place] = WHOLE_IMAGE if bool(near.all()) else small[place]
    return replace(after, parts=tuple(parts), small=(small[0], small[1]))


def _longer_path(before: Reach, parts: Sequence[Tensor]) -> tuple[float, float]:
    """The shortest path after a sum over positions: as much longer as the longest field became."""
    grown = [
        max(0.0, _field_length(parts[2 * place : 2 * place + 2]) - _field_length(before.parts[2 * place : 2 * place + 2]))
        for place in (0, 1)
    ]
    return before.small[0] + grown[0], before.small[1] + grown[1]


def _field_length(pair: Sequence[Tensor]) -> float:
    low, high = torch.broadcast_tensors(pair[0], pair[1])
    real = high > NOT_SEEN / 2
    return float((low + high)[real].max()) + 1 if bool(real.any()) else 0.0


def reduction(context: OpContext) -> list[Reach]:
    x, made = cast(Tensor, context.args[0]), context.made[0]
    shade = context.shade(x)
    if shade is None:
        return elementwise(context)
    named = next((context.kwargs[key] for key in ("dim", "dims") if key in context.kwargs), None)
    place = 2 if context.name in ("linalg_vector_norm", "norm") else 1
    given = named if named is not None else context.args[place] if len(context.args) > place else None
    if isinstance(given, Tensor):  # maximum(x, y) under the name of the reduction
        return elementwise(context)
    dims = (
        list(range(x.dim())) if given is None else [int(given)] if isinstance(given, int) else [int(number) for number in given]
    )
    dims = sorted({dim % max(1, x.dim()) for dim in dims}) or list(range(x.dim()))
    seats = context.where(x).dims
    every = (False, False) if seats is None else (seats[0] in dims, seats[1] in dims)
    parts = [part.amax(dims, keepdim=True) for part in shade.parts]
    after = grow_whole(context, x, shade, replace(shade, parts=tuple(parts), small=_longer_path(shade, parts)), every)
    single = shade.single or all(every) or (_sees_everything(after) and not _sees_everything(shade))
    kept = after.parts if made.dim() == x.dim() else tuple(part.squeeze(dims) for part in after.parts)
    return [replace(after, parts=kept, single=single)] * len(context.made)


def _sees_everything(shade: Reach) -> bool:
    """Whether every element sees the whole image."""
    return all(bool((part > WHOLE_IMAGE / 2).all()) for part in shade.parts)


def softmax(context: OpContext) -> list[Reach]:
    x, dim = cast(Tensor, context.args[0]), int(context.args[1])
    shade = cast(Reach, context.shade(x))
    parts = [torch.where(part == NEVER_SEEN, part, part.amax(dim, keepdim=True)) for part in shade.parts]
    return [grow_whole(context, x, shade, replace(shade, parts=tuple(parts), small=_longer_path(shade, parts)))]


def matrix_product(context: OpContext) -> list[Reach]:
    """Matrix products: row i and column j of the operands are seen, except where the first is masked."""
    args = context.args[1:] if context.name.rstrip("_") in ("addmm", "baddbmm", "addmv", "addbmm") else context.args
    left, right = cast(Tensor, args[0]), cast(Tensor, args[1])
    one, other = context.shade(left), context.shade(right)
    if left.dim() < 2 or right.dim() < 2 or (one is None and other is None):
        return unknown_reach(context)
    weight = context.name == "linear"
    parts: list[Tensor] = []
    for place in range(4):
        rows = None if one is None else one.parts[place]
        cols = None if other is None else other.parts[place].mT if weight else other.parts[place]
        if rows is not None and cols is not None and bool((rows == NEVER_SEEN).any()):
            read = cols.amax(-1, keepdim=True).mT
            part = torch.where(rows == NEVER_SEEN, NEVER_SEEN, torch.maximum(rows, read)).amax(-1, keepdim=True)
        else:
            halves = [rows.amax(-1, keepdim=True)] if rows is not None else []
            part = elementwise_max([*halves, *([cols.amax(-2, keepdim=True)] if cols is not None else [])])
        parts.append(part)
    made = join_parts(context, align(parts, context.made[0]))
    for tensor, shade in ((left, one), (right, other)):
        if shade is not None:
            longer = _longer_path(shade, parts)
            made = replace(made, small=longer if one is None or other is None else made.small)
            made = grow_whole(context, tensor, shade, made)
    # a linear map over the units of one value for the whole image leaves it one value
    return [replace(made, single=all(shade.single for shade in (one, other) if shade is not None))]


def attention(context: OpContext) -> list[Reach]:
    q, k, v = (cast(Tensor, arg) for arg in context.args[:3])
    mask = next(
        (mask for mask in (context.kwargs.get("attn_mask"), context.kwargs.get("attn_bias"), *context.args[3:])
         if isinstance(mask, Tensor)), None,
    )  # fmt: skip
    blocked = None
    if mask is not None and mask.device.type != "meta":
        blocked = (~mask if mask.dtype == torch.bool else mask.detach() <= MASKED_LOGIT).cpu()
    seat = 4 if "flash" in context.name else 6 if "efficient" in context.name else 5
    if bool(context.argument(seat, "is_causal", False)):
        blocked = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1)
    parts: list[Tensor] = []
    for place in range(4):
        seen = [
            shade.parts[place].amax(-1, keepdim=True) for shade in (context.shade(k), context.shade(v)) if shade is not None
        ]
        asks = context.shade(q)
        keys = elementwise_max(seen).mT if seen else torch.full([1] * q.dim(), NOT_SEEN)
        if blocked is not None and bool(blocked.any()):
            keys = torch.where(blocked, NEVER_SEEN, keys)
        part = keys.amax(-1, keepdim=True)
        parts.append(part if asks is None else torch.maximum(part, asks.parts[place].amax(-1, keepdim=True)))
    made = join_parts(context, parts)
    source = next(tensor for tensor in (k, v, q) if context.shade(tensor) is not None)
    shade = cast(Reach, context.shade(source))
    made = grow_whole(context, source, shade, replace(made, small=_longer_path(shade, parts), single=False))
    return [made] * len(context.made)
