"""Who is best among several, answered on the same images: how often each ranks first when the images are drawn again.

Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 16 (paired draws). Differences with intervals: `equivalence`.
"""

import numpy as np
from jaxtyping import Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.balanced import bootstrap_class_weights
from microtome.numerics.statistics.intervals import bootstrap_weights


def first_rank_rate(
    correct: Float[Array, "candidate image"], draws: int = 2000, seed: int = 0, classes: Int[Array, " image"] | None = None
) -> Float64[Array, " candidate"]:
    """The fraction of bootstrap samples in which each scored highest, ties shared, from answers (1 right, 0 wrong, NaN unknown).

    Images that any candidate has no answer for are left out for all of them. With `classes` the score is balanced accuracy, and images
    are drawn within every class. Not numbers without any image.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known].astype(np.float64)
    if not right.shape[1]:
        return np.full(len(correct), np.nan)
    if classes is None:
        drawn = np.round(right @ bootstrap_weights(right.shape[1], draws, seed).T)  # (candidate, draw), whole numbers
    else:
        drawn = right @ bootstrap_class_weights(classes[known], draws, seed).T
    top = drawn >= drawn.max(axis=0) - 1e-12
    return np.asarray((top / top.sum(axis=0)).mean(axis=1))
