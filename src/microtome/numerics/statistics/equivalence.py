"""Which of several candidates is worse than another, and which is at most a margin worse: paired answers on the same images.

All pairs are compared at once: each interval is a score interval of a paired difference at the level that the studentised range of that
many candidates leaves for all pairs together. A pair that agrees on 20 images is not equal: its interval then reaches from -16% to 16%.

Source: score interval of a paired difference, Tango 1998, "Equivalence test and confidence interval for the difference in proportions
for the paired-sample design"; all pairs at once, Tukey 1953, as in Hsu 1996, "Multiple Comparisons", ch. 5; variance for the number of
images, Agresti & Min 2005; the margin rule and the number of images are ours.
"""

from functools import cache
from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.quantiles import normal_quantile

HALVINGS = 45  # of a difference between -1 and 1: to 1e-13


class PairedComparison(NamedTuple):
    """Differences of accuracy between all candidates, with simultaneous intervals."""

    accuracy: Float64[Array, " candidate"]
    loss: Float64[Array, "candidate other"]  # accuracy of `other` minus that of the candidate
    low: Float64[Array, "candidate other"]
    high: Float64[Array, "candidate other"]
    variance: Float64[Array, "candidate other"]  # of one image's difference
    critical: float  # standard errors of the score from the estimate to either end
    images: int

    def worse(self) -> Bool[Array, " candidate"]:
        """Whether some other candidate is significantly more accurate."""
        return np.asarray((self.low > 0).any(axis=1))

    def within(self, margin: float) -> Bool[Array, " candidate"]:
        """Whether each is shown to be at most `margin` worse than every other."""
        return np.asarray((self.high <= margin).all(axis=1))

    def images_to_decide(self, candidate: int, other: int, margin: float) -> int | None:
        """About how many images would show on which side of the margin the loss lies; None where it lies on the margin."""
        gap = abs(margin - float(self.loss[candidate, other]))
        if gap < 1e-9:
            return None
        return max(self.images + 1, ceil(self.critical**2 * float(self.variance[candidate, other]) / gap**2))


def compare_paired(correct: Float[Array, "candidate image"], level: float = 0.95) -> PairedComparison:
    """Compare candidates whose answers (1 right, 0 wrong, NaN unknown) on the same images are given.

    Images that any candidate has no answer for are left out for all of them.
    """
    right = correct[:, ~np.isnan(correct).any(axis=0)].astype(np.float64)
    count, images = right.shape
    critical = critical_value(count, level)
    if not images:
        unknown = np.full((count, count), np.nan)
        return PairedComparison(np.full(count, np.nan), unknown, unknown, unknown, unknown, critical, 0)
    loss = right.mean(axis=1)[None, :] - right.mean(axis=1)[:, None]
    more = (1 - right) @ right.T  # images that only the other has right
    fewer = more.T
    variance = (more + fewer + 1) / (images + 2) - ((more - fewer) / (images + 2)) ** 2
    low, high = score_interval(more, fewer, images, critical)
    for array in (low, high):
        np.fill_diagonal(array, 0.0)
    return PairedComparison(right.mean(axis=1), loss, low, high, variance, critical, images)


@cache
def critical_value(candidates: int, level: float = 0.95) -> float:
    """How many standard errors hold all pairs of so many candidates together; for a single one as for a pair."""
    if candidates <= 2:
        return float(normal_quantile((1 + level) / 2))
    from scipy.stats import studentized_range  # a second to import, and rarely needed

    return float(studentized_range.ppf(level, candidates, np.inf) / np.sqrt(2))


def score_interval(
    more: Float[Array, "*pair"], fewer: Float[Array, "*pair"], images: int, critical: float
) -> tuple[Float64[Array, "*pair"], Float64[Array, "*pair"]]:
    """The differences of two paired fractions that the score test does not reject, from the images that only one of both has right."""
    more, fewer = np.asarray(more, dtype=np.float64), np.asarray(fewer, dtype=np.float64)
    estimate = (more - fewer) / images

    def end(low: Array, high: Array, score: float) -> Array:
        """Where the falling score passes `score`."""
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = _score(more, fewer, images, middle) > score
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    return end(np.full_like(estimate, -1.0), estimate, critical), end(estimate, np.full_like(estimate, 1.0), -critical)


def _score(more: Array, fewer: Array, images: int, difference: Array) -> Array:
    """Tango's score of a supposed difference: what was seen beyond it, in standard errors under it."""
    linear = (2 * images - more + fewer) * difference - more - fewer
    root = np.sqrt(np.maximum(linear**2 + 8 * images * fewer * difference * (1 - difference), 0.0))
    only_first = (root - linear) / (4 * images)  # its probability, most likely under the difference
    variance = images * (2 * only_first + difference * (1 - difference))
    beyond = more - fewer - images * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 1e-12, beyond / np.sqrt(np.maximum(variance, 1e-300)), np.sign(beyond) * np.inf)
