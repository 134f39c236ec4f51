"""Who is best among several, answered on the same images: paired bootstrap over the images.

Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 16 (paired).
"""

import numpy as np
from jaxtyping import Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import bootstrap_weights


def win_fractions(correct: Float[Array, "candidate image"], draws: int = 2000, seed: int = 0) -> Float64[Array, " candidate"]:
    """The fraction of bootstrap resamples of the images in which each candidate scores highest; ties are shared.

    `correct` is 1 where a candidate is right, 0 where it is wrong, NaN where it has no answer; such images are left out for all.
    Without any image the fractions are not numbers.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known].astype(np.float64)
    if not known.any():
        return np.full(len(correct), np.nan)
    drawn = right @ bootstrap_weights(right.shape[1], draws, seed).T / right.shape[1]  # (candidate, draw)
    top = drawn == drawn.max(axis=0)
    return (top / top.sum(axis=0)).mean(axis=1)
