"""Which method orders the pixels best: gains over baselines on the same images, with intervals of the median.

The score of a method on an image is the area under its insertion curve minus that under its deletion curve. Methods are ranked by the
median over images of the gain over the best baseline, the one with the highest median score. A method is better than the baselines where
the interval of the gain over each of them lies above zero.

Source: interval of the median, Conover 1999, Practical Nonparametric Statistics, sec. 3.2 (coverage: docs/coverage.md); the criterion is
ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from microtome.instruments.faithfulness.removal_trials import Floats
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval
from microtome.numerics.statistics.medians import MIN_RUNS, median_interval

BETTER = "better than all baselines"
UNKNOWN = "no verdict"


@dataclass(frozen=True)
class Standing:
    """How one method stands: its gain over the best baseline, over each of them, the verdict, and its loss against the best method."""

    name: str
    gain: Interval
    over: Mapping[str, Interval]
    verdict: str
    loss: Interval

    @property
    def beats_all(self) -> bool:
        """Whether it is better than all baselines."""
        return self.verdict == BETTER

    @property
    def warns(self) -> bool:
        """Whether its maps need a warning: in the median it is no better than some baseline."""
        return self.verdict != UNKNOWN and min(interval.value for interval in self.over.values()) <= 0

    @property
    def is_worse(self) -> bool:
        """Whether it is worse than the best method."""
        return self.loss.low > 0


@dataclass(frozen=True)
class Ranking:
    """The standings of all methods, the best first, the best baseline, and the gain of each baseline over that one."""

    standings: tuple[Standing, ...]
    baseline: str
    baseline_gains: Mapping[str, Interval]
    images: int

    @property
    def best(self) -> Standing:
        """The first."""
        return self.standings[0]

    def of(self, name: str) -> Standing | None:
        """That of one method; None where it was not ranked."""
        return next((standing for standing in self.standings if standing.name == name), None)


def rank_methods(scores: Mapping[str, Floats], baselines: Sequence[str], titles: Mapping[str, str]) -> Ranking:
    """The ranking of the methods by their scores (image,), those of the `baselines` among them."""
    best_baseline = max(baselines, key=lambda name: float(np.median(scores[name])))
    names = [name for name in scores if name not in baselines]
    gains = {name: gain_interval(scores[name], scores[best_baseline]) for name in names}
    # equal medians are ordered by the mean
    ordered = sorted(names, key=lambda name: (-gains[name].value, -float(scores[name].mean())))
    standings: list[Standing] = []
    for name in ordered:
        over = {other: gain_interval(scores[name], scores[other]) for other in baselines}
        loss = gain_interval(scores[ordered[0]], scores[name])
        standings.append(Standing(name, gains[name], over, _verdict(over, titles), loss))
    baseline_gains = {name: gain_interval(scores[name], scores[best_baseline]) for name in baselines}
    return Ranking(tuple(standings), best_baseline, baseline_gains, len(scores[best_baseline]))


def gain_interval(scores: Floats, others: Floats) -> Interval:
    """The median over images of the difference, with its interval; no bounds for fewer than six images."""
    difference = np.asarray(scores, dtype=np.float64) - np.asarray(others, dtype=np.float64)
    return median_interval(difference) if len(difference) else UNKNOWN_INTERVAL


def _verdict(over: Mapping[str, Interval], titles: Mapping[str, str]) -> str:
    """What may be said of the gains over the baselines."""
    if any(np.isnan(interval.low) for interval in over.values()):
        return UNKNOWN
    unbeaten = {name: interval for name, interval in over.items() if not interval.low > 0}
    if not unbeaten:
        return BETTER
    worst = min(unbeaten, key=lambda name: unbeaten[name].value)
    relation = "worse than" if unbeaten[worst].high < 0 else "not distinguishable from"
    return f"{relation} the {titles[worst].lower()}"


def enough_images(count: int) -> bool:
    """Whether so many images give an interval, and so a verdict."""
    return count >= MIN_RUNS
