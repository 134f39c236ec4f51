"""Who is best among several, answered on the same images: paired bootstrap over the images.

Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 16 (paired); the rule of equals is ours.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.intervals import bootstrap_weights, nan_mean


class Contest(NamedTuple):
    """How candidates stand to the best of them, drawn again and again over the same images."""

    score: Float64[Array, " candidate"]
    behind: Float64[Array, " candidate"]  # the best one's score minus this one's
    behind_low: Float64[Array, " candidate"]
    behind_high: Float64[Array, " candidate"]
    wins: Float64[Array, " candidate"]  # fraction of draws in which this one scored highest, ties shared
    equal: Bool[Array, " candidate"]  # the interval of `behind` reaches 0: not told apart from the best


def run_contest(correct: Float[Array, "candidate image"], draws: int = 2000, seed: int = 0, level: float = 0.95) -> Contest:
    """The contest between candidates whose answers (1 right, 0 wrong, NaN unknown) on the same images are given.

    Images that any candidate has no answer for are left out for all of them. All results are not numbers without any image.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known].astype(np.float64)
    empty = np.full(len(correct), np.nan)
    if not known.any():
        return Contest(empty, empty, empty, empty, empty, np.zeros(len(correct), dtype=bool))
    score = np.asarray(nan_mean(right))
    best = int(np.argmax(score))
    drawn = right @ bootstrap_weights(right.shape[1], draws, seed).T / right.shape[1]  # (candidate, draw)
    low, high = np.quantile(drawn[best] - drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
    top = drawn == drawn.max(axis=0)
    wins = (top / top.sum(axis=0)).mean(axis=1)
    return Contest(score, score[best] - score, low, high, wins, low <= 1e-12)
