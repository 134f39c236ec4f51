"""How much a statistic of images would vary with other images: the grouped jackknife, for what the bootstrap gets wrong.

A bootstrap sample holds images twice. Scores that fit a model with about as many parameters as images (LogME, H-score, coding rates)
take these for evidence, so that the percentile interval does not even hold the score it is made for (docs/coverage.md). The jackknife
leaves groups of images out and repeats none. Its variance is on average too large, never too small, for any statistic of independent
images whose variance does not rise when one is left out.

Source: Quenouille 1956, "Notes on bias in estimation"; Tukey 1958; Efron & Stein 1981, "The jackknife estimate of variance".
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import student_quantile

GROUPS = 10


class JackknifeIntervals(NamedTuple):
    """Statistics with the intervals about them, each (statistic,); bounds are not numbers where they are not known."""

    value: Float64[Array, " statistic"]
    low: Float64[Array, " statistic"]
    high: Float64[Array, " statistic"]


def jackknife_intervals(
    whole: Float[Array, " statistic"], without: Float[Array, "group statistic"], level: float = 0.95
) -> JackknifeIntervals:
    """Student's interval about `whole`, the statistics of all images, from those `without` each group in turn.

    No bounds where a statistic is not finite, or does not change with any group.
    """
    value = np.asarray(whole, dtype=np.float64)
    groups = len(without)
    with np.errstate(invalid="ignore"):
        spread = ((without - without.mean(0)) ** 2).sum(0)
    error = np.sqrt((groups - 1) / groups * spread)
    known = np.isfinite(value) & np.isfinite(error) & (error > 1e-12 * np.abs(value))
    half = float(student_quantile((1 + level) / 2, groups - 1)) * np.where(known, error, np.nan)
    return JackknifeIntervals(value, value - half, value + half)
