"""Which of several candidates is worse than another, and which is at most a margin worse: paired answers on the same images.

All pairs are compared at once: the half-width of every interval is the same multiple of its standard error, taken from the largest
standardised difference over all pairs in a bootstrap over images, so that the 95% holds for all intervals together. The standard
error adds half an answer to each cell of the two-by-two table of a pair: candidates that agree on 20 images are not equal.

Source: simultaneous intervals, Hsu 1996, "Multiple Comparisons", ch. 5, with the Gaussian multiplier bootstrap, Chernozhukov et al. 2013,
arXiv:1212.6906; standard error of a paired difference, Agresti & Min 2005; the margin rule and the number of images are ours.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array


class PairedComparison(NamedTuple):
    """Differences of accuracy between all candidates, with simultaneous intervals."""

    accuracy: Float64[Array, " candidate"]
    loss: Float64[Array, "candidate other"]  # accuracy of `other` minus that of the candidate
    low: Float64[Array, "candidate other"]
    high: Float64[Array, "candidate other"]
    variance: Float64[Array, "candidate other"]  # of one image's difference
    critical: float  # half-width in standard errors
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


def compare_paired(
    correct: Float[Array, "candidate image"], draws: int = 2000, seed: int = 0, level: float = 0.95
) -> PairedComparison:
    """Compare candidates whose answers (1 right, 0 wrong, NaN unknown) on the same images are given.

    Images that any candidate has no answer for are left out for all of them.
    """
    right = correct[:, ~np.isnan(correct).any(axis=0)].astype(np.float64)
    count, images = right.shape
    loss = right.mean(axis=1)[None, :] - right.mean(axis=1)[:, None] if images else np.full((count, count), np.nan)
    more = (right[:, None] < right[None, :]).sum(axis=2)  # images that only the other has right
    fewer = more.T
    adjusted = (more - fewer) / (images + 2)
    variance = (more + fewer + 1) / (images + 2) - adjusted**2
    error = np.sqrt(variance / (images + 2))
    upper = np.triu_indices(count, 1)
    critical = _critical_value(right, upper, error[upper], draws, seed, level)
    low, high = adjusted - critical * error, adjusted + critical * error
    for array in (low, high):
        np.fill_diagonal(array, 0.0)
    return PairedComparison(right.mean(axis=1), loss, low, high, variance, critical, images)


def _critical_value(right: Array, pairs: tuple[Array, Array], error: Array, draws: int, seed: int, level: float) -> float:
    """The quantile of the largest standardised difference over all pairs, at least that of a single one."""
    single = 1.959963984540054  # the normal quantile for 95%, a floor that no bootstrap may fall below
    images = right.shape[1]
    if images < 2 or not len(pairs[0]):
        return single
    differences = right[pairs[1]] - right[pairs[0]]
    differences -= differences.mean(axis=1, keepdims=True)
    signs = np.random.default_rng(seed).standard_normal((images, draws))
    largest = (np.abs(differences @ signs) / images / error[:, None]).max(axis=0)
    return max(single, float(np.quantile(largest, level)))
