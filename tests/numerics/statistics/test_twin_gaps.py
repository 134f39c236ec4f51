"""Gaps to untrained twins: by hand, and how often one more twin lies outside."""

import numpy as np
import pytest

from microtome.numerics.statistics.quantiles import student_quantile
from microtome.numerics.statistics.twin_gaps import TwinCase, twin_gap


def test_one_exact_value_has_student_s_prediction_interval() -> None:
    twins = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    gap = twin_gap([TwinCase(7.0, 0.0, np.inf, twins)], [1.0])
    half = float(student_quantile(0.975, 4)) * twins.std(ddof=1) * np.sqrt(1 + 1 / 5)
    assert gap.value == 4.0 and gap.high - gap.value == pytest.approx(half) and gap.value - gap.low == pytest.approx(half)


def test_errors_add_as_squares_with_welch_s_degrees() -> None:
    first, second = TwinCase(5.0, 0.0, np.inf, np.array([1.0, 3.0])), TwinCase(1.0, 2.0, 30.0, np.array([2.0, 4.0, 6.0]))
    gap = twin_gap([first, second], [1.0, -0.5])
    parts = [(2 * (1 + 1 / 2), 1), (0.25 * 4, 30), (0.25 * 4 * (1 + 1 / 3), 2)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    assert gap.value == pytest.approx((5 - 2) - 0.5 * (1 - 4))
    assert gap.high - gap.value == pytest.approx(float(student_quantile(0.975, freedom)) * np.sqrt(variance))


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_one_more_twin_lies_outside_as_rarely_as_the_level_says(level: float) -> None:
    random = np.random.default_rng(0)
    draws, outside = 4000, 0
    for values in random.normal(size=(draws, 6)):
        gap = twin_gap([TwinCase(float(values[0]), 0.0, np.inf, values[1:])], [1.0], level)
        outside += not gap.low <= 0 <= gap.high
    wanted = (1 - level) * draws
    assert abs(outside - wanted) <= 3 * np.sqrt(wanted)


def test_what_is_not_known_has_no_bounds() -> None:
    twins = np.array([1.0, 1.0, 1.0])
    assert np.isnan(twin_gap([TwinCase(2.0, 0.0, np.inf, twins)], [1.0]).low)
    assert np.isnan(twin_gap([TwinCase(2.0, 0.0, np.inf, np.array([1.0, np.nan]))], [1.0]).value)
    assert np.isnan(twin_gap([TwinCase(np.nan, 0.0, np.inf, np.arange(3.0))], [1.0]).value)
    assert np.isnan(twin_gap([], []).value)
