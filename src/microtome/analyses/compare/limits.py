"""Limits that a network must keep: largest latency, parameters, operations and memory, least accuracy.

A network keeps a limit only where its whole interval does. Where the interval reaches over the limit, that cannot be told. The
accuracies of all networks are judged together: their intervals are wide enough that in at least 97.5% of image sets no network
that misses the limit is taken for one that keeps it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare.named_criteria import ACCURACY, Criterion, CriterionColumn, parse_criterion
from microtome.errors import BadOption, option_name
from microtome.key_numbers import format_value
from microtome.numerics.statistics.balanced import balanced_accuracy
from microtome.numerics.statistics.proportions import proportion_interval

Values = np.ndarray[Any, Any]
KEPT, MISSED, UNDECIDED, UNMEASURED = "kept", "missed", "cannot be told", "not measured"
COUNTS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
TIMES = {"ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3}
SIZES = {"B": 1e-6, "KB": 1e-3, "MB": 1.0, "GB": 1e3, "KIB": 2**10 / 1e6, "MIB": 2**20 / 1e6, "GIB": 2**30 / 1e6}
NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([A-Za-zµ%]*)", re.IGNORECASE)
# option: criterion, units, example
OPTIONS: dict[str, tuple[str, Mapping[str, float], str]] = {
    "max_latency": ("latency", TIMES, "20ms or 0.5s"),
    "max_params": ("params", COUNTS, "30M"),
    "max_operations": ("operations", COUNTS, "4G"),
    "max_memory": ("memory", SIZES, "500MB or 2GB"),
    "min_accuracy": (ACCURACY, {"": 1.0, "%": 0.01}, "0.8 or 80%"),
}


class Limit(NamedTuple):
    """A criterion and its bound in the unit of the key number; `upper` where values must not be above it."""

    criterion: Criterion
    bound: float
    upper: bool


class LimitJudgement(NamedTuple):
    """How each network stands to one limit: verdicts (network,), and the interval ends (network,) that they rest on."""

    limit: Limit
    unit: str
    verdicts: Values
    values: Values
    low: Values
    high: Values

    def excess(self) -> Values:
        """By which fraction of the limit each value is beyond it (network,); negative where it is inside."""
        beyond = self.values - self.limit.bound if self.limit.upper else self.limit.bound - self.values
        return np.asarray(beyond / self.limit.bound)

    def text(self, network: int) -> str:
        """The value and the limit: `latency 24.3 ms, limit 20 ms`."""
        value = format_value(float(self.values[network]), self.unit)
        return f"{self.limit.criterion.name} {value}, limit {format_value(self.limit.bound, self.unit)}"


def parse_limit(option: str, text: str) -> Limit:
    """The limit that an option's text means.

    Raises:
        BadOption: no number, or a unit that it cannot have.
    """
    name, units, example = OPTIONS[option]
    match = NUMBER.fullmatch(text.strip())
    by_unit = {unit.lower(): factor for unit, factor in units.items()}
    factor = by_unit.get(match[2].lower()) if match else None
    if match is None or factor is None or float(match[1]) <= 0:
        unit = f" It needs a unit: {', '.join(units)}." if match and not match[2] and "" not in units else ""
        raise BadOption(f"compare: {option_name(option)} is '{text}'; write for example {example}.{unit}")
    bound = float(match[1]) * factor
    if name == ACCURACY and bound > 1:
        raise BadOption(f"compare: {option_name(option)} is '{text}', more than 100%; write for example {example}.")
    return Limit(parse_criterion(name, option_name(option)), bound, option.startswith("max"))


def judge_limit(limit: Limit, column: CriterionColumn, intervals: tuple[Values, Values] | None = None) -> LimitJudgement:
    """How each network stands to the limit; `intervals` replaces the ends of the column, where all networks are judged together."""
    low, high = (column.low, column.high) if intervals is None else intervals
    if column.exact:
        low = high = column.values
    inside = high <= limit.bound if limit.upper else low >= limit.bound
    outside = low > limit.bound if limit.upper else high < limit.bound
    verdicts = np.where(inside, KEPT, np.where(outside, MISSED, UNDECIDED)).astype(object)
    verdicts[np.isnan(column.values)] = UNMEASURED
    return LimitJudgement(limit, column.unit, verdicts, column.values, np.asarray(low), np.asarray(high))


def joint_accuracy_intervals(correct: Values, classes: Values | None, level: float = 0.95) -> tuple[Values, Values]:
    """Interval ends (network,) of accuracies, held together over all networks that have answers (network, image)."""
    known = [~np.isnan(row).all() if row.size else False for row in correct]
    apart = 1 - (1 - level) / max(1, sum(known))
    low, high = np.full(len(correct), np.nan), np.full(len(correct), np.nan)
    for place in np.flatnonzero(known):
        answered = ~np.isnan(correct[place])
        row = correct[place][answered]
        if classes is None:
            interval = proportion_interval(int(row.sum()), len(row), apart)
        else:
            interval = balanced_accuracy(row, classes[answered], apart)
        low[place], high[place] = interval.low, interval.high
    return low, high


def networks_within(judgements: Sequence[LimitJudgement], count: int) -> Values:
    """Which networks (network,) keep every limit."""
    kept = np.ones(count, dtype=bool)
    for judgement in judgements:
        kept &= judgement.verdicts == KEPT
    return kept


def nearest_network(judgements: Sequence[LimitJudgement], candidates: Values) -> tuple[int, LimitJudgement] | None:
    """Of the candidates (indices) the one that comes nearest to keeping all limits, and the limit that it is furthest from keeping.

    A limit that it misses counts before one of which it cannot be told. None where each lacks a measurement.
    """
    best: tuple[tuple[bool, float], int, LimitJudgement] | None = None
    for network in candidates:
        open_limits = [each for each in judgements if each.verdicts[network] != KEPT]
        if not open_limits or any(each.verdicts[network] == UNMEASURED for each in open_limits):
            continue
        worst = max(open_limits, key=lambda each: (each.verdicts[network] == MISSED, float(each.excess()[network])))
        order = worst.verdicts[network] == MISSED, float(worst.excess()[network])
        if best is None or order < best[0]:
            best = order, int(network), worst
    return None if best is None else (best[1], best[2])
