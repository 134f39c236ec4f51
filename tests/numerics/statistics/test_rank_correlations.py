"""Rank correlations with intervals: SciPy's value, the published interval, its coverage, and the mean over sets."""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from microtome.numerics.statistics.rank_correlations import MIN_PAIRS, mean_correlation, rank_correlation_interval


def test_scipys_value_and_the_published_interval() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 15))
    b[3] = a[2] = np.nan
    known = np.isfinite(a) & np.isfinite(b)
    found = rank_correlation_interval(a, b)
    value = spearmanr(a[known], b[known]).statistic
    assert found.value == pytest.approx(value)
    half = norm.ppf(0.975) * np.sqrt((1 + value**2 / 2) / (13 - 3))
    assert found.low == pytest.approx(np.tanh(np.arctanh(value) - half))
    assert found.high == pytest.approx(np.tanh(np.arctanh(value) + half))


def test_a_perfect_order_of_few_pairs_is_not_certain() -> None:
    found = rank_correlation_interval(np.arange(7.0), np.arange(7.0) ** 3)
    assert found.value == pytest.approx(1)
    assert 0 < found.low < 1 and found.high <= 1


def test_too_few_or_constant_values_have_none() -> None:
    assert np.isnan(rank_correlation_interval(np.arange(MIN_PAIRS - 1.0), np.arange(MIN_PAIRS - 1.0))).all()
    assert np.isnan(rank_correlation_interval(np.ones(9), np.arange(9.0))).all()


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_coverage(strength: float) -> None:
    random, held = np.random.default_rng(1), 0
    truth = 6 / np.pi * np.arcsin(strength / 2)
    for _ in range(300):
        a, b = random.normal(size=(2, 9))
        found = rank_correlation_interval(a, strength * a + np.sqrt(1 - strength**2) * b)
        held += found.low <= truth <= found.high
    assert held >= 0.91 * 300


def test_the_mean_over_sets() -> None:
    found = mean_correlation(np.array([0.5, 0.5, 0.5, np.nan]), np.array([9.0, 12.0, 20.0, 3.0]))
    assert found.value == pytest.approx(0.5) == found.low == found.high
    two = mean_correlation(np.array([0.2, 0.6]), np.array([9.0, 9.0]))
    assert np.isnan(two.low)
    assert two.value == pytest.approx(np.tanh((np.arctanh(0.2) + np.arctanh(0.6)) / 2))
    assert np.isnan(mean_correlation(np.array([np.nan]), np.array([9.0])).value)
