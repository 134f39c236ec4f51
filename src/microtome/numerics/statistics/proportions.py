"""Intervals that hold their level whatever the distribution: of a fraction, and of the mean of values between two ends.

Both cover at least `level`, mostly more: for discrete values no interval covers exactly 95% at every true value.

Source: Clopper & Pearson 1934, "The use of confidence or fiducial limits"; Gaffke 2005, "Three test statistics for a nonparametric
one-sided hypothesis on the mean of a nonnegative variable", as in Learned-Miller & Thomas 2019, arXiv:1905.06208, which for values of
0 and 1 is Clopper and Pearson's.
"""

import numpy as np
from jaxtyping import Shaped

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval
from microtome.numerics.statistics.quantiles import beta_quantile

BLOCK = 1 << 21  # random numbers held at a time


def proportion_interval(successes: int, count: int, level: float = 0.95) -> Interval:
    """The fraction of successes with Clopper and Pearson's exact interval; not numbers for a count of 0."""
    if count == 0:
        return UNKNOWN_INTERVAL
    tail = (1 - level) / 2
    low = float(beta_quantile(tail, successes, count - successes + 1)) if successes else 0.0
    high = float(beta_quantile(1 - tail, successes + 1, count - successes)) if successes < count else 1.0
    return Interval(successes / count, low, high)


def bounded_mean_interval(
    values: Shaped[Array, " image"],
    least: float = 0.0,
    most: float = 1.0,
    draws: int = 4000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean, without missing values (NaN), of values that cannot leave `least` to `most`, and its interval.

    The lower end is a quantile of means with random weights (those of the spacings of uniform numbers) over the values and one more
    at `least`; the upper end the same with one more at `most`. Not numbers where no value is known.

    Raises:
        ValueError: a value outside the ends.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return UNKNOWN_INTERVAL
    if known.min() < least or known.max() > most:
        raise ValueError(f"values from {known.min():g} to {known.max():g} leave the range {least:g} to {most:g}")
    inside = (known - least) / (most - least)
    if np.isin(inside, (0.0, 1.0)).all():
        interval = proportion_interval(int(inside.sum()), len(inside), level)
    else:
        tail = (1 - level) / 2
        known_part, added = _random_means(inside, draws, seed)
        low, high = np.quantile(known_part, tail), np.quantile(known_part + added, 1 - tail)
        interval = Interval(float(inside.mean()), float(low), float(high))
    return Interval(*(least + (most - least) * part for part in interval))


def _random_means(values: Array, draws: int, seed: int) -> tuple[Array, Array]:
    """For each draw the weighted sum of the values, and the weight that is left for one more."""
    random = np.random.default_rng(seed)
    rows = max(1, BLOCK // (len(values) + 1))
    sums, left = [], []
    for start in range(0, draws, rows):
        weights = random.standard_exponential((min(rows, draws - start), len(values) + 1))
        total = weights.sum(axis=1)
        sums.append(weights[:, 1:] @ values / total)
        left.append(weights[:, 0] / total)
    return np.concatenate(sums), np.concatenate(left)
