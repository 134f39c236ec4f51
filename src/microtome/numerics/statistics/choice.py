"""Who is best among several, answered on the same images: how often each ranks first when the images are drawn again.

Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 16 (paired draws). Differences with intervals: `equivalence`.
"""

import numpy as np
from jaxtyping import Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import bootstrap_weights


def first_rank_rate(correct: Float[Array, "candidate image"], draws: int = 2000, seed: int = 0) -> Float64[Array, " candidate"]:
    """The fraction of bootstrap samples in which each scored highest, ties shared, from answers (1 right, 0 wrong, NaN unknown).

    Images that any candidate has no answer for are left out for all of them. Not numbers without any image.
    """
    right = correct[:, ~np.isnan(correct).any(axis=0)].astype(np.float64)
    if not right.shape[1]:
        return np.full(len(correct), np.nan)
    drawn = np.round(right @ bootstrap_weights(right.shape[1], draws, seed).T)  # (candidate, draw), whole numbers
    top = drawn == drawn.max(axis=0)
    return np.asarray((top / top.sum(axis=0)).mean(axis=1))
