"""Straight-line trends over images, with intervals: how much a score gains along a ranking, how much of it is lost.

Source: ordinary least squares, its standard error without equal variances, MacKinnon & White 1985 (HC1); intervals by the
studentised bootstrap over images, see `intervals`.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, enough_values, studentised_interval


def relative_ranks(values: Float[Array, " image"]) -> Float64[Array, " image"]:
    """Ranks from 0 (smallest) to 1 (largest), equal values sharing the lowest of theirs; NaN where a value is."""
    known = ~np.isnan(values)
    ranks = np.full(len(values), np.nan)
    order = np.searchsorted(np.sort(values[known]), values[known], side="left")
    ranks[known] = order / max(1, int(known.sum()) - 1)
    return ranks


def slope_interval(values: Float[Array, " image"], against: Float[Array, " image"], least: int = 10, seed: int = 0) -> Interval:
    """The least-squares slope of `values` over `against`; not numbers below `least` images or for a constant `against`.

    Without bounds where the values are too few or mostly the same (`enough_values`).
    """
    known = np.isfinite(values) & np.isfinite(against)
    y, x = values[known].astype(np.float64), against[known].astype(np.float64)
    if len(y) < max(2, least) or np.ptp(x) == 0:
        return UNKNOWN_INTERVAL
    x, y = x - x.mean(), y - y.mean()  # the slope stays; sums of squares keep their digits
    slope = float(x @ y / (x @ x))
    if not enough_values(values[known]):
        return Interval(slope, float("nan"), float("nan"))
    rest, count = y - slope * x, len(y)

    def measure(weights: Array) -> tuple[Array, Array]:
        """The slope of the rest, and its standard error, of each draw."""
        level = np.where(weights > 0, x, np.inf).min(1) == np.where(weights > 0, x, -np.inf).max(
            1
        )  # all of one `against`: no line
        across, up = weights @ x / count, weights @ rest / count
        spread, shared = weights @ (x * x) - count * across**2, weights @ (x * rest) - count * across * up
        moved = np.divide(shared, spread, out=np.full(len(weights), np.nan), where=~level)
        away = x - across[:, None]
        squares = (weights * (away * (rest - up[:, None] - moved[:, None] * away)) ** 2).sum(1)
        error = np.sqrt(count / (count - 2) * squares)
        return moved, np.divide(error, spread, out=np.full(len(weights), np.nan), where=~level)

    off = studentised_interval(count, measure, count - 2, seed=seed)
    return Interval(slope, slope + off.low, slope + off.high)


def relative_loss(
    values: Float[Array, " image"], first: Bool[Array, " image"], last: Bool[Array, " image"], least: int = 10, seed: int = 0
) -> Interval:
    """1 - mean(values in `last`) / mean(values in `first`): relative, so that a weak network is not called robust.

    Not numbers with fewer than `least` known images on either side, or where the first mean is not positive; without bounds where
    the values are too few or mostly the same (`enough_values`).
    """
    known = np.isfinite(values) & (first | last)
    y, end = values[known].astype(np.float64), last[known]
    if min(int((~end).sum()), int(end.sum())) < max(1, least) or y[~end].mean() <= 0:
        return UNKNOWN_INTERVAL
    value = float(1 - y[end].mean() / y[~end].mean())
    if not enough_values(y):
        return Interval(value, float("nan"), float("nan"))

    def measure(weights: Array) -> tuple[Array, Array]:
        """The loss and its standard error of each draw; not numbers where the first mean is not positive."""
        means, variances = zip(*(_mean_and_variance(weights[:, side], y[side]) for side in (~end, end)), strict=True)
        positive = means[0] > 0
        ratio = np.divide(means[1], means[0], out=np.full(len(weights), np.nan), where=positive)
        return 1 - ratio, np.sqrt(variances[1] + ratio**2 * variances[0]) / np.where(positive, means[0], np.nan)

    return Interval(value, *studentised_interval(len(y), measure, min(int((~end).sum()), int(end.sum())) - 1, seed=seed)[1:])


def _mean_and_variance(weights: Array, values: Array) -> tuple[Array, Array]:
    """The weighted mean of each row of weights, and the variance of that mean; not numbers for fewer than two drawn values."""
    total = weights.sum(1)
    enough = total > 1
    mean = np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=enough)
    squares = np.maximum(weights @ (values * values) - total * mean**2, 0.0)
    return mean, np.divide(squares, total * (total - 1), out=np.full(len(total), np.nan), where=enough)
