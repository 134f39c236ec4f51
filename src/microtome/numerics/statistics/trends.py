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


def slope_interval(
    values: Float[Array, " image"], against: Float[Array, " image"], least: int = 10, seed: int = 0, level: float = 0.95
) -> Interval:
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

    off = studentised_interval(count, measure, count - 2, seed=seed, level=level)
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


def loss_difference(
    values: Float[Array, " image"],
    other: Float[Array, " image"],
    first: Bool[Array, " image"],
    last: Bool[Array, " image"],
    least: int = 10,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The relative loss of `values` minus that of `other`, both from the images in `first` to those in `last`; paired by image.

    Not numbers with fewer than `least` known images on either side, or where a first mean is not positive; without bounds where
    the differences are too few or mostly the same (`enough_values`).
    """
    known = np.isfinite(values) & np.isfinite(other) & (first | last)
    both, end = np.stack([values, other])[:, known].astype(np.float64), last[known]
    starts = both[:, ~end].mean(1) if (~end).any() else np.zeros(2)
    if min(int((~end).sum()), int(end.sum())) < max(1, least) or (starts <= 0).any():
        return UNKNOWN_INTERVAL
    losses = 1 - both[:, end].mean(1) / starts
    value = float(losses[0] - losses[1])
    if not enough_values(both[0] - both[1]):
        return Interval(value, float("nan"), float("nan"))

    def measure(weights: Array) -> tuple[Array, Array]:
        """The difference of the losses and its standard error of each draw, by the first order of the two ratios."""
        above, below = weights[:, end], weights[:, ~end]
        counts = above.sum(1), below.sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [(above @ each[end] / counts[0], below @ each[~end] / counts[1]) for each in both]
            ratios = [np.where(start > 0, stop / start, np.nan) for stop, start in means]
            ends = both[1, end] / means[1][1][:, None] - both[0, end] / means[0][1][:, None]
            middles = [
                ratio[:, None] * each[~end] / start[:, None]
                for each, ratio, (_, start) in zip(both, ratios, means, strict=True)
            ]
            variance = _weighted_variance(above, ends) / (counts[0] - 1) + _weighted_variance(
                below, middles[0] - middles[1]
            ) / (counts[1] - 1)
            return ratios[1] - ratios[0], np.sqrt(np.where(np.minimum(*counts) > 1, variance, np.nan))

    freedom = min(int((~end).sum()), int(end.sum())) - 1
    return Interval(value, *studentised_interval(len(end), measure, freedom, seed=seed, level=level)[1:])


def _weighted_variance(weights: Array, values: Float[Array, "draw image"]) -> Array:
    """The mean squared deviation of each row of values, each image counted as often as it is drawn."""
    total = weights.sum(1)
    mean = (weights * values).sum(1) / total
    return (weights * (values - mean[:, None]) ** 2).sum(1) / total


def _mean_and_variance(weights: Array, values: Array) -> tuple[Array, Array]:
    """The weighted mean of each row of weights, and the variance of that mean; not numbers for fewer than two drawn values."""
    total = weights.sum(1)
    enough = total > 1
    mean = np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=enough)
    squares = np.maximum(weights @ (values * values) - total * mean**2, 0.0)
    return mean, np.divide(squares, total * (total - 1), out=np.full(len(total), np.nan), where=enough)
