"""A weighted sum of scaled criteria, and the exact intervals of each weight in which one candidate has the largest sum.

Where one weight moves from 0 to 1 and the others keep their proportions, the sum of each candidate is a straight line in that weight, so
the largest one is the upper envelope of lines, and the weights at which it changes are where two lines cross.

Source: weighted sums of scaled criteria, Keeney & Raiffa 1976, "Decisions with Multiple Objectives", ch. 3; the parts of a difference
put together, Zou & Donner 2008, "Construction of confidence limits about effect measures: a general approach". Adding the parts that
rest on the same images without cancellation is ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import Interval

SAME = 1e-12  # utilities, and weights, that differ by less are equal


class WeightRegion(NamedTuple):
    """Weights from `start` to `end` at which the candidate `winner` has the largest sum."""

    start: float
    end: float
    winner: int


def scale_criterion(
    values: Float[Array, " candidate"], larger_is_better: bool, least_range: float = 0.0, logarithm: bool = False
) -> tuple[Float64[Array, " candidate"], float]:
    """Utilities, 1 for the best and 0 for the worst, and how much of a utility one unit is (one doubling with `logarithm`).

    Where the values reach over less than `least_range`, that is the distance from 0 to 1, so that small differences stay small. Missing
    values (NaN) stay missing.
    """
    steps = np.log2(values) if logarithm else np.asarray(values, dtype=np.float64)
    signed = steps if larger_is_better else -steps
    if np.isnan(signed).all():
        return np.full(len(signed), np.nan), 0.0
    reach = max(float(np.nanmax(signed) - np.nanmin(signed)), least_range)
    if reach == 0:
        return np.where(np.isnan(signed), np.nan, 1.0), 0.0
    return 1 + (signed - np.nanmax(signed)) / reach, 1 / reach


def regions_of_weight(
    utilities: Float[Array, "candidate criterion"], weights: Float[Array, " criterion"], criterion: int
) -> list[WeightRegion]:
    """Which candidate has the largest sum while the weight of `criterion` goes from 0 to 1 and the others keep their proportions.

    Where the others weigh nothing they count alike. Of candidates with equal sums throughout, the first is named.
    """
    zero, slopes = _lines(utilities, weights, criterion)
    regions: list[WeightRegion] = []
    at, winner = 0.0, _first(zero, slopes)
    while True:
        with np.errstate(divide="ignore", invalid="ignore"):
            crossings = (zero[winner] - zero) / (slopes - slopes[winner])
        later = (slopes > slopes[winner] + SAME) & (crossings < 1 - SAME)
        if not later.any():
            return [*regions, WeightRegion(at, 1.0, winner)]
        end = float(max(crossings[later].min(), at))
        beyond = later & (crossings <= end + SAME)
        following = int(np.flatnonzero(beyond)[np.argmax(slopes[beyond])])
        if end > at + SAME:
            regions.append(WeightRegion(at, end, winner))
        at, winner = end, following


def utilities_by_weight(
    utilities: Float[Array, "candidate criterion"],
    weights: Float[Array, " criterion"],
    criterion: int,
    at: Float[Array, " weight"],
) -> Float64[Array, "candidate weight"]:
    """The sum of each candidate at these weights of one criterion, the others in proportion."""
    zero, slopes = _lines(utilities, weights, criterion)
    return zero[:, None] + slopes[:, None] * np.asarray(at)[None, :]


def total_interval(
    values: Sequence[float], lows: Sequence[float], highs: Sequence[float], same_images: Bool[Array, " part"]
) -> Interval:
    """A sum of parts, each with its interval: parts that rest on the same images add up, independent ones as squares."""
    together = np.asarray(same_images, dtype=bool)
    middle = np.asarray(values, dtype=np.float64)
    below, above = (np.abs(middle - np.asarray(ends, dtype=np.float64)) for ends in (lows, highs))
    total = float(middle.sum())
    down, up = (float(np.sqrt(part[together].sum() ** 2 + (part[~together] ** 2).sum())) for part in (below, above))
    return Interval(total, total - down, total + up)


def _lines(utilities: Array, weights: Array, criterion: int) -> tuple[Array, Array]:
    """The sum of each candidate where the criterion weighs nothing, and how fast it grows with that weight."""
    others = np.array(weights, dtype=np.float64)
    others[criterion] = 0.0
    if len(others) == 1:
        return np.array(utilities[:, 0], dtype=np.float64), np.zeros(len(utilities))
    if others.sum() == 0:
        others = np.where(np.arange(len(others)) == criterion, 0.0, 1.0)
    zero = utilities @ (others / others.sum())
    return zero, utilities[:, criterion] - zero


def _first(zero: Array, slopes: Array) -> int:
    """The candidate that is first just above a weight of 0."""
    near = np.flatnonzero(zero >= zero.max() - SAME)
    return int(near[np.flatnonzero(slopes[near] >= slopes[near].max() - SAME)[0]])
