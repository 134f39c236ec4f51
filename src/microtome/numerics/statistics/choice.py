"""Who is best among several, answered on the same images: paired bootstrap over the images.

Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 16 (paired); the rule of equals is ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.balanced import bootstrap_class_weights, class_weights
from microtome.numerics.statistics.intervals import bootstrap_weights


class Contest(NamedTuple):
    """How candidates stand to the best of them, drawn again and again over the same images."""

    score: Float64[Array, " candidate"]
    behind: Float64[Array, " candidate"]  # the best one's score minus this one's
    behind_low: Float64[Array, " candidate"]
    behind_high: Float64[Array, " candidate"]
    wins: Float64[Array, " candidate"]  # fraction of draws in which this one scored highest, ties shared
    equal: Bool[Array, " candidate"]  # the interval of `behind` reaches 0: not told apart from the best


def run_contest(
    correct: Float[Array, "candidate image"],
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    classes: Int[Array, " image"] | None = None,
) -> Contest:
    """The contest between candidates whose answers (1 right, 0 wrong, NaN unknown) on the same images are given.

    Images that any candidate has no answer for are left out for all of them. All results are not numbers without any image. With
    `classes` the score is balanced accuracy, and images are drawn within every class.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known].astype(np.float64)
    empty = np.full(len(correct), np.nan)
    if not known.any():
        return Contest(empty, empty, empty, empty, empty, np.zeros(len(correct), dtype=bool))
    if classes is None:
        score, weights = right.mean(axis=1), bootstrap_weights(right.shape[1], draws, seed) / right.shape[1]
    else:
        score = right @ class_weights(classes[known])
        weights = bootstrap_class_weights(classes[known], draws, seed)
    best = int(np.argmax(score))
    drawn = right @ weights.T  # (candidate, draw)
    low, high = np.quantile(drawn[best] - drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    top = drawn >= drawn.max(axis=0) - 1e-12
    wins = (top / top.sum(axis=0)).mean(axis=1)
    return Contest(score, score[best] - score, low, high, wins, low <= 1e-12)
