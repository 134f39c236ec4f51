"""The largest value under a sliding window, along one axis, with the axis continued beyond its ends in equal steps.

This is what a convolution, a pooling or an interpolation does to the ends of receptive fields: the last pixel that an output
cell sees is the largest of the last pixels that the cells under its window see. Cells in the padding are given the pixels that
they would see if the picture went on, so that fields are told unclipped.

Source: Araujo, Norris & Sim 2019, "Computing receptive fields of convolutional neural networks" (Distill), eq. 1-5, cell by cell.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

NOT_SEEN = -1e9  # the "last pixel" of what does not depend on the picture at all


def extend_ends(ends: Float[Tensor, "..."], dim: int, before: int, after: int, step: float) -> Float[Tensor, "..."]:
    """`ends` with `before` and `after` more cells along `dim`, `step` pixels apart; negative numbers cut cells off.

    Fractions of a pixel are rounded down, so that a field never grows by more than what is seen.
    """
    count = ends.shape[dim]
    cut = ends.narrow(dim, max(0, -before), count - max(0, -before) - max(0, -after))
    parts = [cut]
    if before > 0:
        parts.insert(0, ends.narrow(dim, 0, 1) - _pixel_steps(ends, dim, before, step).flip(dim))
    if after > 0:
        parts.append(ends.narrow(dim, count - 1, 1) + _pixel_steps(ends, dim, after, step))
    return torch.cat(parts, dim).floor() if len(parts) > 1 else cut


def _pixel_steps(ends: Tensor, dim: int, count: int, step: float) -> Tensor:
    shape = [1] * ends.dim()
    shape[dim] = count
    return (torch.arange(1, count + 1, dtype=ends.dtype) * step).reshape(shape)


def slide_windows(
    ends: Float[Tensor, "..."], dim: int, out: int, *, kernel: int, stride: int, before: int, dilation: int, step: float
) -> Float[Tensor, "..."]:
    """The largest end under each of `out` windows of `kernel` cells, the first of which begins `before` cells early."""
    span = (kernel - 1) * dilation + 1
    after = (out - 1) * stride + span - before - ends.shape[dim]
    wide = extend_ends(ends, dim, before, after, step)
    return wide.unfold(dim, span, stride)[..., ::dilation].amax(-1)


def slide_transposed(
    ends: Float[Tensor, "..."], dim: int, out: int, *, kernel: int, stride: int, before: int, dilation: int, step: float
) -> Float[Tensor, "..."]:
    """The largest end among the cells that reach each of `out` cells of a transposed window; NOTHING where none does.

    Input cell i reaches the output cells i · stride - before + t · dilation, t = 0 … kernel - 1.
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


def interpolation_taps(ends: Float[Tensor, "..."], dim: int, out: int, mode: str, corners: bool) -> Float[Tensor, "..."]:
    """The largest end among the cells from which each of `out` cells is interpolated; taps of weight zero do not count.

    `mode` is nearest, exact, bilinear or bicubic, as torch defines them.
    """
    count = ends.shape[dim]
    at = torch.arange(out, dtype=torch.float64)
    if mode in ("nearest", "exact"):
        taps = [((at + (0.5 if mode == "exact" else 0.0)) * (count / out)).floor()]
    else:
        place = at * ((count - 1) / max(1, out - 1)) if corners else (at + 0.5) * (count / out) - 0.5
        place = place.clamp_min(0.0) if mode == "bilinear" else place
        low = (place + 1e-9).floor()
        between = (place - low).abs() > 1e-6
        around = (0, 1) if mode == "bilinear" else (-1, 0, 1, 2)
        taps = [torch.where(between, low + offset, low) for offset in around]
    chosen = [ends.index_select(dim, tap.clamp(0, count - 1).long()) for tap in taps]
    return torch.stack(chosen).amax(0)


def adaptive_bins(ends: Float[Tensor, "..."], dim: int, out: int) -> Float[Tensor, "..."]:
    """The largest end in each of `out` bins of an adaptive pooling, which overlap where the cells do not divide evenly."""
    count = ends.shape[dim]
    bins = [(place * count // out, -(-(place + 1) * count // out)) for place in range(out)]
    return torch.cat([ends.narrow(dim, first, last - first).amax(dim, keepdim=True) for first, last in bins], dim)
