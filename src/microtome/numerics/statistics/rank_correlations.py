"""Spearman's rank correlation of a few pairs of values, with an interval, and its mean over several sets.

The interval is Fisher's transform with the standard error for ranks; its measured coverage is in docs/coverage.md. The
mean over sets (networks) takes Student's interval of the transformed values, so that it speaks of further sets, not of further pairs.

Source: Spearman 1904; standard error for ranks, Bonett & Wright 2000, "Sample size requirements for estimating Pearson, Kendall and
Spearman correlations", eq. 5; the mean over sets is ours.
"""

import numpy as np
from jaxtyping import Float

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, student_interval
from microtome.numerics.statistics.quantiles import normal_quantile

MIN_PAIRS = 6  # with fewer, the interval spans nearly everything
MIN_SETS = 3


def rank_correlation_interval(a: Float[Array, " pair"], b: Float[Array, " pair"], level: float = 0.95) -> Interval:
    """Spearman's correlation of the pairs of which both are known, and its interval.

    Not numbers for fewer than `MIN_PAIRS` pairs, or where one side is constant.
    """
    known = np.isfinite(a) & np.isfinite(b)
    first, second = np.asarray(a, dtype=np.float64)[known], np.asarray(b, dtype=np.float64)[known]
    count = len(first)
    if count < MIN_PAIRS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return UNKNOWN_INTERVAL
    value = float(np.corrcoef(_mean_ranks(first), _mean_ranks(second))[0, 1])
    middle = _transform(value, count)
    error = np.sqrt((1 + min(value * value, 1.0) / 2) / (count - 3))
    half = float(normal_quantile((1 + level) / 2)) * error
    return Interval(value, float(np.tanh(middle - half)), float(np.tanh(middle + half)))


def mean_correlation(values: Float[Array, " set"], counts: Float[Array, " set"], level: float = 0.95) -> Interval:
    """The mean of the correlations of several sets of `counts` pairs each, and its interval over sets.

    No bounds for fewer than `MIN_SETS` sets; not numbers for none. Sets without a correlation (NaN) are left out.
    """
    known = np.isfinite(values)
    if not known.any():
        return UNKNOWN_INTERVAL
    transformed = [_transform(float(value), int(count)) for value, count in zip(values[known], counts[known], strict=True)]
    interval = student_interval(transformed, level)
    if len(transformed) < MIN_SETS:
        return Interval(float(np.tanh(interval.value)), float("nan"), float("nan"))
    return Interval(*(float(np.tanh(part)) for part in interval))


def _transform(value: float, count: int) -> float:
    """Fisher's transform; a correlation of 1 of a few pairs is finite."""
    most = 1 - 1 / count**2
    return float(np.arctanh(np.clip(value, -most, most)))


def _mean_ranks(values: Array) -> Array:
    """Ranks from 1, equal values sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
