"""Receptive fields of generated networks, held against pixels that are changed one row at a time.

The oracle knows nothing of intervals: every padding is a mark (NaN), so that positions which read a border are known and left out;
of the others each pixel row and column is nudged, and the positions that change are those that see it. Weights are positive, so that
nothing cancels. Told must equal seen at every such position, and the largest field told is the largest seen.
"""

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from microtome.numerics.receptive.field import Field, ReachMode, expand_parts, field_of

SIZE = (41, 52)
UNITS = 3
Step = Callable[[Tensor, bool], Tensor]  # (map, whether padding is marked) -> map


def edge(x: Tensor, rows: int, cols: int) -> Tensor:
    return F.pad(x, (cols, cols, rows, rows), value=float("nan"))


def weights(kernel: Sequence[int]) -> Tensor:
    return torch.full((UNITS, UNITS, *kernel), 1.0 / (UNITS * kernel[0] * kernel[1]))


def conv(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]) -> Step:
    def step(x: Tensor, marked: bool) -> Tensor:
        x = edge(x, *padding) if marked else x
        return F.conv2d(x, weights(kernel), stride=stride, padding=(0, 0) if marked else padding, dilation=dilation)

    return step


def average(kernel: tuple[int, int], stride: tuple[int, int]) -> Step:
    def step(x: Tensor, marked: bool) -> Tensor:
        padding = (kernel[0] // 2, kernel[1] // 2)
        x = edge(x, *padding) if marked else x
        return F.avg_pool2d(x, kernel, stride, (0, 0) if marked else padding)

    return step


def transposed(kernel: int, stride: int) -> Step:
    def step(x: Tensor, marked: bool) -> Tensor:
        crop = (kernel - stride) // 2
        if not marked:
            return F.conv_transpose2d(x, weights((kernel, kernel)), stride=stride, padding=crop)
        # two marked positions more on each side, whose outputs are cut off again: outputs that they reach keep the mark
        return F.conv_transpose2d(edge(x, 2, 2), weights((kernel, kernel)), stride=stride, padding=crop + 2 * stride)

    return step


def resize(mode: str, factor: int) -> Step:
    def step(x: Tensor, marked: bool) -> Tensor:
        if not marked:
            return F.interpolate(x, scale_factor=factor, mode=mode)
        made = F.interpolate(edge(x, 2, 2), scale_factor=factor, mode=mode)
        return made[:, :, 2 * factor : -2 * factor, 2 * factor : -2 * factor]

    return step


def shrink(x: Tensor, marked: bool) -> Tensor:
    """Antialiased halving: four positions under a triangle, two of them beyond the two that are halved."""
    if not marked:
        return F.interpolate(x, size=(x.shape[2] // 2, x.shape[3] // 2), mode="bilinear", antialias=True)
    wide = edge(x, 4, 4)
    return F.interpolate(wide, size=(wide.shape[2] // 2, wide.shape[3] // 2), mode="bilinear", antialias=True)[:, :, 2:-2, 2:-2]


def even(x: Tensor, marked: bool) -> Tensor:
    return x[:, :, : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]


def unfolded(x: Tensor, marked: bool) -> Tensor:
    """The mean of 3 x 3 windows at stride 2, by im2col."""
    padding = 0 if marked else 1
    x = edge(x, 1, 1) if marked else x
    sides = [(side + 2 * padding - 3) // 2 + 1 for side in x.shape[2:]]
    return F.unfold(x, 3, padding=padding, stride=2).reshape(len(x), UNITS, 9, *sides).mean(2)


def summed(body: Step) -> Step:
    return lambda x, marked: x + body(x, marked)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    """One operation, no larger than it need be to be of its kind; rows and columns are drawn apart."""
    kind = draw(st.sampled_from(["conv", "conv", "same", "average", "transposed", "resize", "shrink", "unfold", "sum"]))
    two = lambda values: (draw(st.sampled_from(values)), draw(st.sampled_from(values)))  # noqa: E731
    if kind == "conv":
        kernel, dilation = two([1, 2, 3]), two([1, 1, 2])
        return conv(
            kernel, two([1, 1, 2]), (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))), dilation
        )
    if kind == "average":
        return average(two([2, 3]), two([1, 2]))
    if kind == "transposed":
        return transposed(*draw(st.sampled_from([(2, 2), (4, 2), (3, 1), (5, 3)])))
    if kind == "resize":
        return resize(draw(st.sampled_from(["nearest", "bilinear", "nearest-exact"])), 2)
    if kind == "shrink":
        return lambda x, marked: shrink(even(x, marked), marked)
    if kind == "unfold":
        return unfolded
    kernel, dilation = (draw(st.sampled_from([1, 3])), 3), draw(st.sampled_from([1, 2]))
    body = conv(kernel, (1, 1), (kernel[0] // 2 * dilation, dilation), (dilation, dilation))
    return summed(body) if kind == "sum" else body


def told(chain: Sequence[Step]) -> Field:
    x = torch.zeros(1, UNITS, *SIZE)
    with torch.no_grad(), ReachMode(x) as reach:
        value = x
        for step in chain:
            value = step(value, False)
        shade, where = reach.of(value) or pytest.fail("not followed")
    return field_of(expand_parts(shade, value.shape), shade, where, SIZE)


def seen(chain: Sequence[Step], axis: int) -> tuple[Tensor, Tensor]:
    """((pixel, position) which positions change with each pixel row or column, (position) which read no border)."""

    def ends(x: Tensor, marked: bool) -> Tensor:
        for step in chain:
            x = step(x, marked)
        return x.sum(1).nan_to_num(nan=float("inf")).movedim(1 + axis, 1).flatten(2)  # (image, position, rest)

    plain = torch.ones(1, UNITS, *SIZE)
    inside = ends(plain, True)[0].isfinite().any(1)
    nudged = plain.expand(SIZE[axis], -1, -1, -1).clone()
    for pixel in range(SIZE[axis]):
        nudged[pixel].select(1 + axis, pixel).mul_(1 + SIZE[0] * SIZE[1])
    return ((ends(nudged, False) - ends(plain, False)).abs() > 1e-3).any(2), inside


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(steps(), min_size=1, max_size=5))
def test_told_is_seen(chain: list[Step]) -> None:
    x = torch.zeros(1, UNITS, *SIZE)
    for step in chain:
        if min(x.shape[2:]) < 8 or max(x.shape[2:]) > 200:
            return
        x = step(x, False)
    found = told(chain)
    assert found.exact
    for axis, span in enumerate((found.row, found.col)):
        hits, inside = seen(chain, axis)
        assert len(span.first) == len(inside) == x.shape[2 + axis]
        lengths: list[int] = []
        for position in inside.nonzero().flatten().tolist():
            pixels = hits[:, position].nonzero().flatten()
            first, last = (int(pixels[0]), int(pixels[-1])) if len(pixels) else (0, -1)
            assert span.pixels(position) == (first, last), (axis, position)
            lengths.append(last - first + 1)
        if len(lengths) > 8:  # a whole pattern of positions is among them
            assert span.size == max(lengths)
