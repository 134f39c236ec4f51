"""Straight-line trends over images, with intervals: how much a score gains along a ranking, how much of it is lost.

Source: ordinary least squares; percentile bootstrap over images, Efron 1979.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import Interval, weighted_bootstrap

UNKNOWN_INTERVAL = Interval(float("nan"), float("nan"), float("nan"))


def relative_ranks(values: Float[Array, " image"]) -> Float64[Array, " image"]:
    """Ranks from 0 (smallest) to 1 (largest), equal values sharing the lowest of theirs; NaN where a value is."""
    known = ~np.isnan(values)
    found = np.full(len(values), np.nan)
    order = np.searchsorted(np.sort(values[known]), values[known], side="left")
    found[known] = order / max(1, int(known.sum()) - 1)
    return found


def slope_interval(values: Float[Array, " image"], against: Float[Array, " image"], least: int = 10, seed: int = 0) -> Interval:
    """The least-squares slope of `values` over `against`; not numbers below `least` images or for a constant `against`."""
    known = np.isfinite(values) & np.isfinite(against)
    y, x = values[known], against[known]
    if len(y) < max(2, least) or np.ptp(x) == 0:
        return UNKNOWN_INTERVAL

    x, y = x - x.mean(), y - y.mean()  # the slope stays; sums of squares keep their digits

    def line(weights: Array) -> Array:
        drawn = weights > 0
        level = np.where(drawn, x, np.inf).min(1) == np.where(drawn, x, -np.inf).max(1)  # all of one `against`: no line
        total = weights.sum(1)
        across, up = weights @ x, weights @ y
        spread, shared = weights @ (x * x) - across * across / total, weights @ (x * y) - across * up / total
        return np.divide(shared, spread, out=np.full_like(total, np.nan), where=~level)

    return weighted_bootstrap(len(y), line, seed=seed)


def relative_loss(
    values: Float[Array, " image"], first: Bool[Array, " image"], last: Bool[Array, " image"], least: int = 10, seed: int = 0
) -> Interval:
    """1 - mean(values in `last`) / mean(values in `first`): relative, so that a weak network is not called robust.

    Not numbers with fewer than `least` known images on either side, or where the first mean is not positive.
    """
    known = np.isfinite(values) & (first | last)
    y, end = values[known], last[known]
    if min(int((~end).sum()), int(end.sum())) < max(1, least) or y[~end].mean() <= 0:
        return UNKNOWN_INTERVAL

    def loss(weights: Array) -> Array:
        sides = [(weights @ (y * side), weights @ side.astype(np.float64)) for side in (~end, end)]
        drawn = (sides[0][1] > 0) & (sides[1][1] > 0)
        early, late = (np.divide(total, count, out=np.full_like(total, np.nan), where=drawn) for total, count in sides)
        # a draw whose first mean is not positive has no relative loss
        return 1 - np.divide(late, early, out=np.full_like(late, np.nan), where=early > 0)

    return weighted_bootstrap(len(y), loss, seed=seed)


def median_bootstrap_interval(values: Float[Array, " image"], seed: int = 0) -> Interval:
    """The median of values without NaN, and its interval."""
    order = np.argsort(values)
    ordered = np.asarray(values, dtype=np.float64)[order]
    middle = (len(values) - 1) // 2, len(values) // 2

    def halved(weights: Array) -> Array:
        upto = weights[:, order].cumsum(1)
        return np.mean([ordered[(upto <= rank).sum(1)] for rank in middle], axis=0)

    return weighted_bootstrap(len(values), halved, seed=seed)
