"""Effects against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from microtome.replicate.effects import (
    correlation_effect,
    difference_effect,
    jackknife_effect,
    mean_effect,
    number_rows,
    repeated_effect,
    twin_effect,
)

RANDOM = np.random.default_rng(0)


def test_repetitions_have_students_interval() -> None:
    values = [0.1, 0.3, 0.2, 0.6]
    effect = repeated_effect(values, "seed")
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (effect.value, effect.low, effect.high) == pytest.approx((0.3, *expected))
    assert effect.covers == "95% over 4 seeds, Student"


def test_two_samples_have_welchs_interval() -> None:
    first, second = RANDOM.normal(1, 1, 30), RANDOM.normal(0, 3, 50)
    effect = difference_effect(first, second, "filter")
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (effect.low, effect.high) == pytest.approx((expected.low, expected.high))
    assert effect.value == pytest.approx(first.mean() - second.mean())


def test_the_jackknife_of_a_mean_is_about_students() -> None:
    values = RANDOM.normal(2, 1, 1000)
    effect = jackknife_effect(lambda places: float(values[places].mean()), 1000, "image")
    assert effect.value == pytest.approx(values.mean())
    assert effect.high - effect.low == pytest.approx(2 * stats.t.ppf(0.975, 9) / np.sqrt(1000), rel=0.5)


def test_means_and_correlations() -> None:
    values = RANDOM.normal(3, 1, 400)
    effect = mean_effect(values, "image")
    assert effect.low < effect.value < effect.high
    assert effect.high - effect.low == pytest.approx(2 * 1.96 * values.std(ddof=1) / 20, rel=0.1)
    flat = mean_effect(np.ones(20), "image")
    assert flat.value == 1 and math.isnan(flat.low) and "all values are equal" in flat.covers
    rank = correlation_effect(np.arange(30), -(np.arange(30.0) ** 3), "block")
    assert rank.value == pytest.approx(-1) and rank.high < -0.9


def test_a_value_against_its_twins() -> None:
    twins = np.array([0.1, 0.2, 0.3, 0.2, 0.2])
    effect = twin_effect(0.9, 0.0, np.inf, twins, "no images")
    half = stats.t.ppf(0.975, 4) * twins.std(ddof=1) * np.sqrt(1 + 1 / 5)  # one more draw of a normal twin
    assert (effect.value, effect.low, effect.high) == pytest.approx((0.7, 0.7 - half, 0.7 + half))


def test_numbers_in_words() -> None:
    assert number_rows({"a": 0.25, "b": 1.0}, "fraction") == (("a", "25.0%"), ("b", "100%"))
