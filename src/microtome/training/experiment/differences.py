"""How far a variant lies from the reference: seed by seed, over the seeds, and over the images for these very networks.

Three things are kept apart, since each answers another question. (a) Over images: would these very networks, trained already, differ
on other images of this kind? (b) The difference of each seed: what was seen. (c) Over seeds: would other seeds give a difference too?
A claim about a way of training is about seeds, so the verdict rests on (c) alone, from `MIN_SEEDS` seeds on. A difference that is not
significant is never called none.

Source: Student 1908 for the mean of paired differences; Tango 1998 for one pair of networks, bootstrap-t for several
(`numerics.statistics`); the seed as unit of replication, Bouthillier et al. 2021, arXiv:2103.03098. The verdicts are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtome.numerics.statistics.equivalence import critical_value, score_interval
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, mean_interval, student_interval

MIN_SEEDS = 3  # two differences give an interval 12.7 standard errors wide to each side, which says nothing
SAME = 1e-12  # differences that vary less than this do not vary
HIGHER, LOWER, UNDECIDED, FEW_SEEDS, NO_SPREAD = "higher", "lower", "not significant", "too few seeds", "no spread"


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """A variant minus the reference, in the unit of the number."""

    seeds: tuple[int, ...]  # that both have a value for
    by_seed: tuple[float, ...]
    over_seeds: Interval  # bounds are not numbers below `MIN_SEEDS` seeds, and where the seeds do not vary
    over_images: Interval = UNKNOWN_INTERVAL  # of accuracy alone

    @property
    def verdict(self) -> str:
        """What the interval over seeds says: higher, lower, not significant, or why there is none."""
        if len(self.by_seed) < MIN_SEEDS:
            return FEW_SEEDS
        if np.isnan(self.over_seeds.low):
            return NO_SPREAD
        return HIGHER if self.over_seeds.low > 0 else LOWER if self.over_seeds.high < 0 else UNDECIDED


def seed_difference(variant: Mapping[int, float], reference: Mapping[int, float]) -> PairedDifference:
    """The difference over the seeds that both have a known value for; values by seed."""
    seeds = tuple(seed for seed in sorted(variant) if seed in reference and np.isfinite(variant[seed] - reference[seed]))
    by_seed = tuple(float(variant[seed] - reference[seed]) for seed in seeds)
    return PairedDifference(seeds=seeds, by_seed=by_seed, over_seeds=_over_seeds(by_seed))


def _over_seeds(by_seed: tuple[float, ...]) -> Interval:
    if not by_seed:
        return UNKNOWN_INTERVAL
    interval = student_interval(by_seed)
    if len(by_seed) < MIN_SEEDS or np.ptp(by_seed) <= SAME:
        return Interval(interval.value, float("nan"), float("nan"))
    return interval


def accuracy_difference(
    variant: Mapping[int, NDArray[np.bool_]], reference: Mapping[int, NDArray[np.bool_]]
) -> PairedDifference:
    """The difference of accuracy, from which images are right (image) by seed; both were judged on the same images in the same order."""
    means = [{seed: float(np.mean(right)) for seed, right in side.items()} for side in (variant, reference)]
    difference = seed_difference(*means)
    pairs = [(variant[seed], reference[seed]) for seed in difference.seeds]
    return PairedDifference(
        seeds=difference.seeds,
        by_seed=difference.by_seed,
        over_seeds=difference.over_seeds,
        over_images=image_interval(pairs) if pairs else UNKNOWN_INTERVAL,
    )


def image_interval(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> Interval:
    """The mean difference of these pairs of networks, with its 95% interval over images: right (image) of either network.

    One pair: the score interval of a paired difference. Several: the mean over pairs, image by image, and its bootstrap interval.
    """
    each = np.stack([first.astype(float) - second.astype(float) for first, second in pairs])
    if len(pairs) > 1:
        return mean_interval(each.mean(0))
    more, fewer = (np.array([float((sign * each[0] > 0).sum())]) for sign in (1, -1))
    low, high = score_interval(more, fewer, each.shape[1], critical_value(2))
    return Interval(float(each.mean()), float(low[0]), float(high[0]))
