"""Dilated kernels against the side of their map: which taps read it, which rates reach its border, and the star of parallel branches.

A 3 x 3 kernel at rate r, padded by r, reads a map of side M with ((1 + 2 (1 - r/M)+) / 3)² of its taps, over all positions, and at
(1 - 2 r/M)+² of the positions with all nine; at r >= M only its middle tap is left. What is told here is counted, position by
position and tap by tap, for any kernel, stride and padding; the closed forms are what the tests hold it to.

The rule for rates: from the middle of the map the outermost tap of the largest rate reaches the border and no further,
r_max = floor((M - 1) / (k - 1)), that is floor((M - 1) / 2) for 3 x 3; n branches share it evenly, r_max · (1/n, 2/n, …, 1).

Source: taps beyond the map, Chen et al. 2017, arXiv:1706.05587, sec. 3.3 and fig. 4; counts, closed forms, the rule and the star are
ours. That rates should follow the size of the image says Kim et al. 2023, arXiv:2307.14179, whose formula is not known to us.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from torch.overrides import TorchFunctionMode

from microtome.numerics.arrays import Array


class TapReading(NamedTuple):
    """How a kernel reads one side of its map: fractions of 1.

    `valid` of all pairs of a position and a tap lie on the map; `whole` of the positions have all their taps on it; `alive` of the
    taps lie on it at one position at least.
    """

    valid: float
    whole: float
    alive: float


def read_side(kernel: int, rate: int, stride: int, before: int, positions: int, cells: tuple[int, int]) -> TapReading:
    """How `kernel` taps, `rate` apart, read one side, counted over all `positions` (positions of the output).

    `before` positions of padding stand before the side; `cells` (first, end) is what of the side is map and no padding.
    """
    on = on_map(tap_positions(kernel, rate, stride, before, np.arange(positions)), cells)
    return TapReading(float(on.mean()), float(on.all(1).mean()), float(on.any(0).mean()))


def tap_positions(kernel: int, rate: int, stride: int, before: int, at: Sequence[int] | Array) -> Array:
    """The position that each tap reads, (position, tap), for the positions `at` of the output; outside the side where that is so."""
    return np.asarray(at)[:, None] * stride - before + np.arange(kernel)[None] * rate


def on_map(places: Array, cells: tuple[int, int]) -> Array:
    """Which places lie among `cells` (first, end)."""
    return (places >= cells[0]) & (places < cells[1])


def border_rate(side: int, kernel: int = 3) -> int:
    """The rate at which the outermost tap, seen from the middle of `side` positions, reaches the border and no further; 1 at least."""
    return max(1, (side - 1) // (kernel - 1)) if kernel > 1 else 1


def shared_rates(most: int, count: int) -> tuple[int, ...]:
    """`count` rates that share the largest, `most`, evenly, halves rounded up; equal ones where `most` is below `count`."""
    return tuple(max(1, (2 * most * part + count) // (2 * count)) for part in range(1, count + 1))


def star_points(
    shape: tuple[int, int], points: Sequence[tuple[Sequence[int] | Array, Sequence[int] | Array]]
) -> Bool[Array, "row col"]:
    """Where parallel branches read a map of `shape`: for each the rows and columns of its taps; what lies outside is left out."""
    mask = np.zeros(shape, dtype=bool)
    for rows, cols in points:
        inside = [
            [int(place) for place in places if 0 <= place < side] for places, side in zip((rows, cols), shape, strict=True)
        ]
        mask[np.ix_(*inside)] = True
    return mask


def dilate_mask(on: Bool[Array, "row col"], by: int) -> Bool[Array, "row col"]:
    """`on` with every point as a square that goes `by` positions further on all sides, cut at the border."""
    mask = np.zeros_like(on)
    for row, col in np.argwhere(on):
        mask[max(0, row - by) : row + by + 1, max(0, col - by) : col + by + 1] = True
    return mask


class StarMass(NamedTuple):
    """Where a field lies, as fractions of its sum; NaN for a field of zeros.

    `floor` is what the whole map would hold if it were as high everywhere as the median position off the star, `above` what the star
    holds above that.
    """

    star: float
    floor: float
    above: float


def star_mass(field: Float64[Array, "row col"], on: Bool[Array, "row col"]) -> StarMass:
    """How much of `field` lies on the star `on`, in an even floor under all positions, and on the star above that floor."""
    total = float(field.sum())
    if not total:
        return StarMass(float("nan"), float("nan"), float("nan"))
    floor = float(np.median(field[~on])) if not on.all() else 0.0
    return StarMass(float(field[on].sum()) / total, floor * field.size / total, float((field[on] - floor).sum()) / total)


class DilationMode(TorchFunctionMode):
    """While this is entered, `count` is the number of dilated convolutions ran, of one to three dimensions, as modules or not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        place = _DILATION_ARGUMENT.get(getattr(func, "__name__", ""))
        if place is not None:
            weight = args[1] if len(args) > 1 else named["weight"]
            dilation = args[place] if len(args) > place else named.get("dilation", 1)
            rates = list(dilation) if isinstance(dilation, list | tuple) else [dilation]
            rates = rates * (weight.dim() - 2) if len(rates) == 1 else rates
            self.count += any(rate > 1 and side > 1 for rate, side in zip(rates, weight.shape[2:], strict=True))
        return func(*args, **named)


# where the dilation stands among the arguments
_DILATION_ARGUMENT = {
    "conv1d": 5,
    "conv2d": 5,
    "conv3d": 5,
    "conv_transpose1d": 7,
    "conv_transpose2d": 7,
    "conv_transpose3d": 7,
}
