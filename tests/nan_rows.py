"""Receptive fields of a function: by our arithmetic, and by NaN that is let loose in one row of the image at a time."""

from collections.abc import Callable
from typing import Any

import torch

from microtome.numerics.receptive.field import Field, ReachMode, Span, expand_parts, field_of
from microtome.numerics.receptive.geometry import Where
from microtome.numerics.receptive.reach import Reach

Function = Callable[[torch.Tensor], torch.Tensor]


def followed(make: Function, size: tuple[int, int] = (33, 33)) -> tuple[torch.Tensor, Reach, Where]:
    """What `make` gives for an image of `size` px, what each element of it sees, and where its positions lie."""
    x = torch.zeros(1, 3, *size)
    with torch.no_grad(), ReachMode(x) as mode:
        value = make(x)
        found = mode.of(value)
    assert found is not None
    return value, *found


def field(make: Function, size: tuple[int, int] = (33, 33), shaped: Callable[..., Any] = lambda value: value) -> Field:
    """The field of what `make` gives for an image; `shaped` brings values to (image, unit, row, col)."""
    value, reach, where = followed(make, size)
    return field_of([shaped(part) for part in expand_parts(reach, value.shape)], reach, where, size)


def nan_rows(
    make: Function, size: tuple[int, int] = (33, 33), shaped: Callable[..., Any] = lambda value: value
) -> list[tuple[int, int]]:
    """(first, last) row of the image that each row of positions depends on; slow and obvious."""
    seen = []
    for row in range(size[0]):
        x = torch.full((1, 3, *size), 0.5)
        x[:, :, row] = float("nan")
        with torch.no_grad():
            seen.append(shaped(make(x)).isnan().any(3).any(1)[0])
    hit = torch.stack(seen)  # (pixel, position)
    return [(int(one.nonzero()[0]), int(one.nonzero()[-1])) for one in hit.T]


def clipped(span: Span) -> list[tuple[int, int]]:
    """(first, last) pixel that each position sees, within the image."""
    return [(max(0, first), min(span.side - 1, last)) for first, last in (span.pixels(j) for j in range(len(span.first)))]


def kernel(rows: int, cols: int | None = None, inputs: int = 3, units: int = 4) -> torch.Tensor:
    """The weight of a convolution, all ones."""
    return torch.ones(units, inputs, rows, cols or rows)
