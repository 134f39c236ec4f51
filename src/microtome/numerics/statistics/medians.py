"""The median of repeated measurements with an interval that assumes nothing about their distribution."""

from math import comb

import numpy as np
from jaxtyping import Float

from microtome.numerics.statistics.intervals import Interval

Array = np.ndarray
MIN_RUNS = 6  # values: with fewer no order statistics enclose the median in 95%


def median_interval(values: Float[Array, " run"], level: float = 0.95) -> Interval:
    """The median, and the order statistics that enclose the true one in at least `level` of repetitions.

    With n values the k-th smallest and k-th largest enclose it in 1 - 2 P(Binomial(n, 1/2) < k) of repetitions; the largest such k is
    taken. Fewer than six values reach no 95%: then the ends are NaN.

    Source: Conover 1999, Practical Nonparametric Statistics, sec. 3.2.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    ranks = [k for k in range(1, count // 2 + 1) if 1 - 2 * sum(comb(count, i) for i in range(k)) / 2**count >= level]
    if not ranks:
        return Interval(float(np.median(ordered)) if count else float("nan"), float("nan"), float("nan"))
    return Interval(float(np.median(ordered)), float(ordered[ranks[-1] - 1]), float(ordered[-ranks[-1]]))
