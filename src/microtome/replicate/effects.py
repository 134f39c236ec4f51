"""Effects with their intervals, in the few forms that claims have."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import ttest_ind

from microtome.key_numbers import format_value
from microtome.numerics.statistics.intervals import Interval, mean_interval, student_interval
from microtome.numerics.statistics.jackknife import GROUPS, jackknife_intervals
from microtome.numerics.statistics.rank_correlations import rank_correlation_interval
from microtome.numerics.statistics.twin_gaps import TwinCase, twin_gap
from microtome.prose import plural
from microtome.replicate.claim import Effect

Values = np.ndarray[Any, Any]
Rows = tuple[tuple[str, str], ...]


def number_rows(numbers: dict[str, float], unit: str = "1") -> Rows:
    """Named numbers as rows in words."""
    return tuple((name, format_value(value, unit)) for name, value in numbers.items())


def effect_of(interval: Interval, covers: str, rows: Rows = ()) -> Effect:
    """The effect of an interval."""
    return Effect(float(interval.value), float(interval.low), float(interval.high), covers, rows)


def mean_effect(values: Values, noun: str, rows: Rows = ()) -> Effect:
    """The mean over images, filters or layers (`noun`), with its studentised bootstrap interval."""
    covers = f"95% over {plural(len(values), noun)}, studentised bootstrap"
    if np.ptp(values) == 0:  # nothing varies, so that no bootstrap sample differs
        return Effect(float(values[0]), float("nan"), float("nan"), f"{covers}: no bounds, all values are equal", rows)
    return effect_of(mean_interval(values), covers, rows)


def repeated_effect(values: Sequence[float], noun: str, rows: Rows = ()) -> Effect:
    """The mean over a few repetitions (`noun`), with Student's interval."""
    return effect_of(student_interval(values), f"95% over {plural(len(values), noun)}, Student", rows)


def difference_effect(first: Values, second: Values, noun: str, rows: Rows = ()) -> Effect:
    """The mean of `first` minus that of `second`, two independent samples, with Welch's interval."""
    ends = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    covers = f"95% over {len(first)} and {plural(len(second), noun)}, Welch"
    return Effect(float(first.mean() - second.mean()), float(ends.low), float(ends.high), covers, rows)


def jackknife_effect(measure: Callable[[Values], float], count: int, noun: str, rows: Rows = ()) -> Effect:
    """`measure` of the places of all `count` images, with the interval of the grouped jackknife over them."""
    group = np.random.default_rng(0).permutation(count) % GROUPS
    places = np.arange(count)
    without = np.array([[measure(places[group != left])] for left in range(GROUPS)])
    value, low, high = jackknife_intervals(np.array([measure(places)]), without)
    return Effect(float(value[0]), float(low[0]), float(high[0]), f"95% over {plural(count, noun)}, grouped jackknife", rows)


def correlation_effect(first: Values, second: Values, noun: str, rows: Rows = ()) -> Effect:
    """Spearman's rank correlation over pairs, with its interval by Fisher's transform."""
    covers = f"95% over {plural(len(first), noun)}, Fisher's transform"
    return effect_of(rank_correlation_interval(np.asarray(first, float), np.asarray(second, float)), covers, rows)


def twin_effect(value: float, error: float, freedom: float, twins: Values, noun: str, rows: Rows = ()) -> Effect:
    """A value minus the mean of its untrained twins, with the interval of one more draw of both."""
    covers = f"95% over {noun} and {plural(len(twins), 'untrained twin')}"
    return effect_of(twin_gap([TwinCase(value, error, freedom, twins)], [1.0]), covers, rows)
