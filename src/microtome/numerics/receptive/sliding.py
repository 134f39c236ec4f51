"""The largest value under a sliding window, along one axis, with the axis continued beyond its ends in equal steps.

This is what a convolution, a pooling or an interpolation does to the ends of receptive fields: the last pixel that an output
position sees is the largest of the last pixels that the positions under its window see. Positions in the padding are given the pixels that
they would see if the image went on, so that fields are told unclipped.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 1-5, position by position.
"""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

NOT_SEEN = -1e9  # the "last pixel" of what does not depend on the image at all
MOST_PERIOD = 64  # positions after which a pattern is looked for again: six doublings of the grid
TINY = 1e-5  # a weight of interpolation below this is rounding


def extend_ends(ends: Float[Tensor, "..."], dim: int, before: int, after: int, step: float) -> Float[Tensor, "..."]:
    """`ends` with `before` and `after` more positions along `dim`, `step` pixels apart; negative numbers cut positions off.

    Positions repeat what the middle of the axis repeats, `step` pixels further for each position: behind transposed convolutions and
    interpolation neighbours differ by more or less than `step`, and only every second or fourth position is alike. Where nothing is
    repeated, the outermost position is moved on. Fractions of a pixel are rounded down, so that no field grows by more than is seen.
    """
    count = ends.shape[dim]
    cut = ends.narrow(dim, max(0, -before), count - max(0, -before) - max(0, -after))
    if before <= 0 and after <= 0:
        return cut
    period = _period(ends, dim, step)
    parts = [
        _beyond(ends, dim, range(-before, 0), period, step),
        cut,
        _beyond(ends, dim, range(count, count + after), period, step),
    ]
    return torch.cat(parts, dim).floor()


def _beyond(ends: Tensor, dim: int, cells: range, period: int, step: float) -> Tensor:
    """The ends of positions outside the axis; `period` 0: those of the outermost position, moved on."""
    count = ends.shape[dim]
    begin = (count - period) // 2
    like = [begin + (cell - begin) % period if period else min(max(cell, 0), count - 1) for cell in cells]
    moved = [(cell - source) * step for cell, source in zip(cells, like, strict=True)]
    shape = [1] * ends.dim()
    shape[dim] = len(moved)
    taken = ends.index_select(dim, torch.tensor(like, dtype=torch.long))
    return torch.where(taken < NOT_SEEN / 2, taken, taken + torch.tensor(moved, dtype=ends.dtype).reshape(shape))


def _period(ends: Tensor, dim: int, step: float) -> int:
    """After how many positions the ends repeat, `step` pixels further for each, in the middle half of the axis or all over it; 0: never."""
    count = ends.shape[dim]
    for margin in (count // 4, 0):
        middle = ends.narrow(dim, margin, count - 2 * margin)
        side = int(middle.shape[dim])
        for period in range(1, min(MOST_PERIOD, side // 2) + 1):
            near, far = middle.narrow(dim, 0, side - period), middle.narrow(dim, period, side - period)
            if bool(torch.where(near < NOT_SEEN / 2, far == near, far == near + period * step).all()):
                return period
    return 0


def slide_windows(
    ends: Float[Tensor, "..."], dim: int, out: int, *, kernel: int, stride: int, before: int, dilation: int, step: float
) -> Float[Tensor, "..."]:
    """The largest end under each of `out` windows of `kernel` positions, the first of which begins `before` positions early."""
    span = (kernel - 1) * dilation + 1
    after = (out - 1) * stride + span - before - ends.shape[dim]
    wide = extend_ends(ends, dim, before, after, step)
    return wide.unfold(dim, span, stride)[..., ::dilation].amax(-1)


def slide_transposed(
    ends: Float[Tensor, "..."], dim: int, out: int, *, kernel: int, stride: int, before: int, dilation: int, step: float
) -> Float[Tensor, "..."]:
    """The largest end among the positions that reach each of `out` positions of a transposed window; NOTHING where none does.

    Input position i reaches the output positions i · stride - before + t · dilation, t = 0 … kernel - 1.
    """
    span = (kernel - 1) * dilation + 1
    more = math.ceil(span / stride) + 1
    tail = max(0, math.ceil((out + span) / stride) - ends.shape[dim]) + 1
    wide = extend_ends(ends, dim, more, tail, step)
    shape = list(wide.shape)
    shape[dim] = (wide.shape[dim] - 1) * stride + 1
    spread = wide.new_full(shape, NOT_SEEN)
    spread.index_copy_(dim, torch.arange(wide.shape[dim]) * stride, wide)
    start = before - (span - 1) + more * stride
    return spread.narrow(dim, start, out - 1 + span).unfold(dim, span, 1)[..., ::dilation].amax(-1)


def interpolation_taps(ends: Float[Tensor, "..."], dim: int, taps: Int64[Tensor, "out tap"]) -> Float[Tensor, "..."]:
    """The largest end among the positions from which each output position is mixed: `taps` holds their numbers, row by row."""
    return torch.stack([ends.index_select(dim, column) for column in taps.unbind(1)]).amax(0)


def read_by(weights: Float[Tensor, "out position"]) -> Int64[Tensor, "out tap"]:
    """The positions that have a weight in each row, the last repeated so that all rows are as long; rows of zeros read position 0."""
    used = weights.abs() > TINY
    many = max(1, int(used.sum(1).max()))
    order = torch.argsort((~used).to(torch.uint8), dim=1, stable=True)[:, :many]
    last = (used.sum(1, keepdim=True) - 1).clamp_min(0)
    return order.gather(1, torch.minimum(torch.arange(many).expand(len(weights), -1), last))


def adaptive_bins(ends: Float[Tensor, "..."], dim: int, out: int) -> Float[Tensor, "..."]:
    """The largest end in each of `out` bins of an adaptive pooling, which overlap where the positions do not divide evenly."""
    count = ends.shape[dim]
    bins = [(place * count // out, -(-(place + 1) * count // out)) for place in range(out)]
    return torch.cat([ends.narrow(dim, first, last - first).amax(dim, keepdim=True) for first, last in bins], dim)
