"""How far values lie from what further untrained twins would give: gaps with intervals, alone or combined over networks.

The value of a network is compared with one further draw of its twins, not with their mean: a network that is one more set of random
weights lies outside the interval as rarely as the level says. The error of the value itself is added; degrees of freedom are Welch's.

Source: Student's prediction of one further value, Geisser 1993, "Predictive inference", sec. 2.1; Welch 1947; the combination is ours.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval
from microtome.numerics.statistics.quantiles import prediction_error, student_quantile

LEAST_TWINS = 2


class TwinCase(NamedTuple):
    """A value with its standard error and degrees of freedom (error 0 where it is exact), and the same of its untrained twins."""

    value: float
    error: float
    freedom: float
    twins: Float[Array, " twin"]


def twin_gap(cases: Sequence[TwinCase], weights: Sequence[float], level: float = 0.95) -> Interval:
    """The weighted sum of the gaps between each value and the mean of its twins, and the interval of one more draw of each.

    Not numbers where a value is missing or has fewer than `LEAST_TWINS` twins; no bounds where nothing varies.
    """
    total, variance, fourth = 0.0, 0.0, 0.0
    for case, weight in zip(cases, weights, strict=True):
        twins = np.asarray(case.twins, dtype=np.float64)
        twins = twins[np.isfinite(twins)]
        if len(twins) < LEAST_TWINS or not np.isfinite([case.value, case.error]).all():
            return UNKNOWN_INTERVAL
        total += weight * (case.value - float(twins.mean()))
        parts = (case.error, case.freedom), (float(prediction_error(twins.std(ddof=1), len(twins))), len(twins) - 1)
        for error, freedom in parts:
            variance += (weight * error) ** 2
            fourth += (weight * error) ** 4 / freedom if error else 0.0
    if not cases or not variance > 0:
        return Interval(total, float("nan"), float("nan")) if cases else UNKNOWN_INTERVAL
    half = float(student_quantile((1 + level) / 2, variance**2 / fourth)) * float(np.sqrt(variance))
    return Interval(total, total - half, total + half)
