"""Which of several candidates is beaten by no other on all criteria at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from microtome.numerics.arrays import Array


def pareto_front(points: Float[Array, "n criterion"], larger_is_better: Sequence[bool]) -> Bool[Array, " n"]:
    """True for points that no other point equals or beats everywhere and beats somewhere.

    Equal points are on the front together. A point with a missing value (NaN) is never on it and beats nobody.
    """
    if len(larger_is_better) != points.shape[1]:
        raise ValueError(f"{points.shape[1]} criteria need as many directions, not {len(larger_is_better)}")
    score = np.where(np.asarray(larger_is_better, dtype=bool), points, -points)
    known = np.logical_not(np.isnan(score).any(axis=1, keepdims=True))[:, 0]
    front = np.array(known)
    for place in np.flatnonzero(known):
        rivals = score[known]
        beaten = (rivals >= score[place]).all(axis=1) & (rivals > score[place]).any(axis=1)
        front[place] = not beaten.any()
    return front
