"""Preferences: a weighted sum of scaled criteria, whether its order is shown by the images, and how it changes with the weights.

Each criterion is scaled to 1 for the best candidate and 0 for the worst. Fractions reach over at least 5 points and costs, as
logarithms, over at least one doubling, so that small differences stay small. Weights are divided by their sum. Accuracy weighs 1 and
the cost that `price` names weighs 1, unless `prefer` says otherwise or names another cost.
"""

from collections.abc import Sequence
from math import ceil, isfinite
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare.named_criteria import (
    ACCURACY,
    COSTS,
    PRICE_NAMES,
    Criterion,
    CriterionColumn,
    criteria_names,
    parse_criterion,
)
from microtome.errors import BadOption, option_name
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.balanced import bootstrap_class_weights
from microtome.numerics.statistics.equivalence import PairedComparison
from microtome.numerics.statistics.intervals import Interval, bootstrap_weights
from microtome.numerics.statistics.weight_regions import SAME, scale_criterion, total_interval

Values = np.ndarray[Any, Any]
LEAST_FRACTION, LEAST_DOUBLINGS = 0.05, 1.0
NORMAL_QUANTILE = 1.959963984540054  # of the 95% intervals of single networks


class Weighing(NamedTuple):
    """Criteria of the candidates, weights that sum to 1, utilities (candidate, criterion), and one unit's worth of utility."""

    columns: list[CriterionColumn]
    weights: Values
    utilities: Values
    worth: Values

    @property
    def totals(self) -> Values:
        """The weighted sum of each candidate."""
        return self.utilities @ self.weights

    @property
    def names(self) -> list[str]:
        """The names of the criteria."""
        return [column.name for column in self.columns]


class UtilityGap(NamedTuple):
    """How much more one candidate's sum is than another's, with its interval; and how far each criterion may lie below its part."""

    gap: Interval
    below: dict[str, float]
    of_images: Values

    @property
    def least_certain(self) -> str:
        """The criterion whose part is known least."""
        return max(self.below, key=lambda name: self.below[name])

    def images_needed(self, images: int) -> int | None:
        """About how many images of the accuracy would show the gap, the rest staying as it is; None where no number does."""
        parts = dict(zip(self.below, self.of_images, strict=True))
        accuracy = self.below.get(ACCURACY, 0.0)
        others = sum(half for name, half in self.below.items() if parts[name] and name != ACCURACY)
        times = sum(half**2 for name, half in self.below.items() if not parts[name])
        room = max(self.gap.value**2 - times, 0.0) ** 0.5 - others
        if room <= SAME or not images or accuracy <= 0:
            return None
        return max(images + 1, ceil(images * (accuracy / room) ** 2))


def parse_preferences(words: Sequence[str], price: str) -> list[tuple[Criterion, float]]:
    """Criteria with their weights, those that count without being named included; empty without any word.

    Raises:
        BadOption: a word that is not NAME=NUMBER, a negative weight, a name twice, or only weights of 0.
        UnknownName: a criterion that does not exist.
    """
    given: dict[str, float] = {}
    option = option_name("prefer")
    for word in _joined(words):
        name, sign, number = (part.strip() for part in word.rpartition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not sign or not name or not isfinite(weight) or weight < 0:
            raise BadOption(
                f"compare: {option} '{word}' is not a criterion with a weight of 0 or more; write for example robustness=2."
            )
        if name in given:
            raise BadOption(f"compare: {option} names '{name}' twice; give it one weight.")
        given[name] = weight
    if not given:
        return []
    criteria = {name: parse_criterion(name, option) for name in given}
    weights = {ACCURACY: 1.0} | ({} if any(map(_is_cost, criteria.values())) else {PRICE_NAMES[price]: 1.0}) | given
    if not any(weights.values()):
        raise BadOption(f"compare: {option} gives every criterion the weight 0; give at least one a weight above it.")
    return [(criteria.get(name) or parse_criterion(name, option), weight) for name, weight in weights.items() if weight > 0]


def weigh(columns: Sequence[CriterionColumn], weights: Sequence[float]) -> Weighing:
    """The utilities of candidates that have every criterion."""
    scaled = [
        scale_criterion(column.values, column.larger_is_better, _least(column), _in_doublings(column)) for column in columns
    ]
    given = np.array(weights, dtype=np.float64)
    return Weighing(
        list(columns),
        given / given.sum(),
        np.stack([utility for utility, _ in scaled], 1),
        np.array([unit for _, unit in scaled]),
    )


def utility_gap(weighing: Weighing, first: int, second: int, paired: PairedComparison | None) -> UtilityGap:
    """By how much the first candidate's weighted sum exceeds the second's, with an interval that holds for all pairs together."""
    parts: list[Interval] = []
    wider = 1.0 if paired is None else paired.critical / NORMAL_QUANTILE
    for place, column in enumerate(weighing.columns):
        weight = float(weighing.weights[place])
        gap = float(weighing.utilities[first, place] - weighing.utilities[second, place])
        if column.name == ACCURACY and paired is not None:
            worth = weight * float(weighing.worth[place])
            parts.append(
                Interval(weight * gap, worth * float(paired.low[second, first]), worth * float(paired.high[second, first]))
            )
            continue
        below, above = _half_widths(weighing, place, first, second)
        parts.append(Interval(weight * gap, weight * (gap - wider * below), weight * (gap + wider * above)))
    of_images = np.array([column.of_images for column in weighing.columns])
    total = total_interval(*([part[end] for part in parts] for end in range(3)), same_images=of_images)
    return UtilityGap(total, {name: part.value - part.low for name, part in zip(weighing.names, parts, strict=True)}, of_images)


def first_rate_in_bootstrap(
    weighing: Weighing, correct: Values, classes: Values | None, draws: int = 2000, seed: int = 0
) -> Values:
    """How often each candidate has the largest sum when the images of the accuracy are drawn again (candidate,); the rest is kept.

    `correct` is (candidate, image); with `classes` the accuracy is balanced.
    """
    known = ~np.isnan(correct).any(axis=0)
    right = correct[:, known]
    place = weighing.names.index(ACCURACY)
    if classes is None:
        drawn = right @ bootstrap_weights(right.shape[1], draws, seed).T / right.shape[1]
    else:
        drawn = right @ bootstrap_class_weights(classes[known], draws, seed).T
    moved = drawn - weighing.columns[place].values[:, None]
    sums = weighing.totals[:, None] + float(weighing.weights[place] * weighing.worth[place]) * moved
    top = sums >= sums.max(axis=0) - SAME
    return np.asarray((top / top.sum(axis=0)).mean(axis=1))


def _joined(words: Sequence[str]) -> list[str]:
    """Words split at commas put together again where a name holds a comma: a part without a weight belongs to the next."""
    joined, begun = list[str](), list[str]()
    for word in words:
        begun.append(word.strip())
        if "=" in word or begun[0].partition(".")[1] == "":
            joined.append(", ".join(begun))
            begun = []
    return joined + ([", ".join(criteria_names(begun))] if begun else [])


def _is_cost(criterion: Criterion) -> bool:
    return criterion.name in COSTS or criterion.analysis == "cost"


def _in_doublings(column: CriterionColumn) -> bool:
    return column.ratio and bool((column.values[~np.isnan(column.values)] > 0).all())


def _least(column: CriterionColumn) -> float:
    return LEAST_DOUBLINGS if _in_doublings(column) else LEAST_FRACTION if column.unit == FRACTION else 0.0


def _half_widths(weighing: Weighing, place: int, first: int, second: int) -> tuple[float, float]:
    """How far below and above its value the difference of two utilities may lie; 0 where no interval is known."""
    column = weighing.columns[place]
    values, ends = (np.array(each, dtype=np.float64) for each in (column.values, [column.low, column.high]))
    if _in_doublings(column):
        with np.errstate(divide="ignore", invalid="ignore"):
            values, ends = np.log2(values), np.log2(ends)
    if not column.larger_is_better:
        values, ends = -values, -ends[::-1]
    down, up = np.nan_to_num(np.abs(values - ends), nan=0.0, posinf=np.inf) * float(weighing.worth[place])
    return float(np.hypot(down[first], up[second])), float(np.hypot(up[first], down[second]))
