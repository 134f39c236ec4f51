"""Which of several candidates is beaten by no other on all criteria at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from microtome.numerics.arrays import Array


def pareto_front(points: Float[Array, "n criterion"], larger_is_better: Sequence[bool]) -> Bool[Array, " n"]:
    """True for points that no other point equals or beats everywhere and beats somewhere.

    Equal points are on the front together. A point with a missing value (NaN) is never on it and beats nobody.
    """
    known = ~np.isnan(points).any(axis=1)
    return np.asarray(known & ~domination_table(points, larger_is_better).any(axis=1))


def domination_table(points: Float[Array, "n criterion"], larger_is_better: Sequence[bool]) -> Bool[Array, "n n"]:
    """Whether point i is dominated by point j (i, j): j is at least as good everywhere and better somewhere.

    A point with a missing value (NaN) dominates nobody and is dominated by nobody.
    """
    if len(larger_is_better) != points.shape[1]:
        raise ValueError(f"{points.shape[1]} criteria need as many directions, not {len(larger_is_better)}")
    score = np.where(np.asarray(larger_is_better, dtype=bool), points, -points)
    own, other = score[:, None, :], score[None, :, :]
    known = np.asarray(~np.isnan(score).any(axis=1))
    beaten = (other >= own).all(axis=2) & (other > own).any(axis=2)
    return np.asarray(beaten & known[:, None] & known[None, :])
