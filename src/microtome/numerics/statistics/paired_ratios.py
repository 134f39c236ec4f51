"""How times of several candidates, measured in turn, stand to each other: paired ratios with intervals.

In every round each candidate is timed once. What disturbs the machine for longer than a round hits all of them and cancels in the
ratios of a round; their median ignores single disturbed rounds. The order statistics that enclose it make no assumption about the
distribution; their level is raised so that the 95% holds for all pairs together.

Source: interval of the median, Conover 1999, Practical Nonparametric Statistics, sec. 3.2; all pairs, Bonferroni.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from microtome.numerics.arrays import Array
from microtome.numerics.statistics.medians import median_interval


class PairedRatios(NamedTuple):
    """Time of a candidate over that of another, with simultaneous intervals; NaN where they were not timed in turn."""

    ratio: Float64[Array, "candidate other"]
    low: Float64[Array, "candidate other"]
    high: Float64[Array, "candidate other"]


def rounds_needed(candidates: int, level: float = 0.95) -> int:
    """The fewest rounds after which the intervals of all pairs leave out one disturbed round at each end."""
    rounds, missed = 3, (1 - level) / max(1, candidates * (candidates - 1) // 2)
    while 2 * (1 + rounds) / 2**rounds > missed:
        rounds += 1
    return rounds


def turn_order(candidates: int, number: int) -> list[int]:
    """The order of a round: any candidate comes before any other as often as after it, so that a steady drift cancels."""
    start = number // 2 % max(candidates, 1)
    order = [*range(start, candidates), *range(start)]
    return order[::-1] if number % 2 else order


def paired_ratios(times: Float[Array, "candidate round"], level: float = 0.95) -> PairedRatios:
    """The median of the ratios by round, for all pairs at once."""
    count = len(times)
    shape, pairs = (count, count), max(1, count * (count - 1) // 2)
    ratio, low, high = (np.full(shape, np.nan) for _ in range(3))
    for array in (ratio, low, high):
        np.fill_diagonal(array, 1.0)
    for first, second in combinations(range(count), 2):
        steps = np.log(times[first]) - np.log(times[second])
        if np.isnan(steps).any():
            continue
        middle = median_interval(steps, 1 - (1 - level) / pairs)
        ratio[first, second], low[first, second], high[first, second] = np.exp(middle)
        ratio[second, first], low[second, first], high[second, first] = np.exp([-middle.value, -middle.high, -middle.low])
    return PairedRatios(ratio, low, high)
