"""Exact intervals: SciPy's, the bound for bounded values by its published formula, and their guarantee by counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from microtome.numerics.statistics.proportions import bounded_mean_interval, proportion_interval


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_of_a_fraction_is_scipys(counts, level):
    found = proportion_interval(*counts, level=level)
    expected = binomtest(*counts).proportion_ci(level, method="exact")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_fraction_of_nothing_is_not_a_number():
    assert np.isnan(proportion_interval(0, 0)).all()
    assert np.isnan(bounded_mean_interval(np.array([np.nan]))).all()


@pytest.mark.parametrize("count", [3, 8, 50])
@pytest.mark.parametrize("chance", [0.001, 0.02, 0.5, 0.9, 0.999])
def test_it_covers_at_least_its_level_by_summing_the_binomial(count, chance):
    intervals = [proportion_interval(successes, count) for successes in range(count + 1)]
    covered = sum(binom.pmf(k, count, chance) for k, one in enumerate(intervals) if one.low <= chance <= one.high)
    assert covered >= 0.95


def test_zeros_and_ones_have_the_interval_of_a_fraction():
    assert bounded_mean_interval(np.array([0.0, 1, 1, 1])) == proportion_interval(3, 4)
    # nearly 0 and 1: the random weights must give about the same as the beta distribution
    found = bounded_mean_interval(np.array([1e-9, *[1 - 1e-9] * 7]), draws=40_000)
    assert found == pytest.approx(tuple(proportion_interval(7, 8)), abs=0.01)


def test_the_bound_is_the_published_one():
    """Learned-Miller & Thomas 2019, eq. 3: the quantile of 1 - sum of u_(i) (x_(i+1) - x_(i)), with x_(n+1) = 1 and sorted uniforms u."""
    values = np.sort(np.random.default_rng(0).beta(5, 1, size=12))
    uniform = np.sort(np.random.default_rng(1).random((40_000, 12)), axis=1)
    high = np.quantile(1 - uniform @ np.diff(np.append(values, 1.0)), 0.975)
    assert bounded_mean_interval(values, draws=40_000).high == pytest.approx(high, abs=0.002)
    mirrored = bounded_mean_interval(1 - values, draws=40_000)
    assert 1 - mirrored.low == pytest.approx(high, abs=0.002)


def test_other_ends_scale_the_interval_and_values_outside_are_refused():
    values = np.random.default_rng(2).random(20)
    assert bounded_mean_interval(2 * values - 1, -1, 1) == pytest.approx(tuple(2 * np.array(bounded_mean_interval(values)) - 1))
    with pytest.raises(ValueError, match="leave the range 0 to 1"):
        bounded_mean_interval(values + 1)
