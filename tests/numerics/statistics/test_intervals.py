import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from microtome.numerics.statistics.intervals import bootstrap_interval, bootstrap_weights, nan_mean, wilson_interval


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys(counts, level):
    found = wilson_interval(*counts, level=level)
    expected = binomtest(*counts).proportion_ci(level, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_wilson_of_nothing_is_not_a_number():
    assert np.isnan(wilson_interval(0, 0)).all()


def test_bootstrap_weights_are_whole_samples_and_repeat():
    weights = bootstrap_weights(7, 50, seed=3)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert (weights == bootstrap_weights(7, 50, seed=3)).all()
    assert (weights != bootstrap_weights(7, 50, seed=4)).any()
    # Each image is drawn once on average: binomial(7, 1/7) with standard deviation sqrt(6/7), over 350 000 draws of 7.
    assert bootstrap_weights(7, 50_000).mean(0) == pytest.approx(1, abs=5 * np.sqrt(6 / 7 / 50_000))


def test_bootstrap_of_the_mean_is_the_loop_over_resamples():
    values = np.random.default_rng(0).exponential(size=40)
    fast, slow = bootstrap_interval(values, count=300, seed=1), bootstrap_interval(values, np.mean, count=300, seed=1)
    assert fast == pytest.approx(slow)
    means = [np.average(values, weights=row) for row in bootstrap_weights(40, 300, seed=1)]
    assert (fast.low, fast.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_bootstrap_of_a_large_sample_is_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, size=2500)
    found = bootstrap_interval(values, count=4000)
    half = 1.96 * values.std() / 50
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_missing_values_are_left_out():
    values = np.array([1.0, np.nan, 3.0])
    assert nan_mean(values) == 2
    assert np.isnan(nan_mean(np.array([np.nan])))
    assert nan_mean(np.array([[1.0, np.nan], [np.nan, np.nan]])) == pytest.approx([1, np.nan], nan_ok=True)
    found = bootstrap_interval(values, count=200)
    assert (found.value, found.low, found.high) == (2, 1, 3)
    assert np.isnan(bootstrap_interval(np.array([np.nan, np.nan]))).all()
    assert np.isnan(bootstrap_interval(np.array([]))).all()


def test_whole_numbers_and_booleans_are_values_too():
    assert bootstrap_interval(np.array([True, False, True, False])).value == 0.5


def test_blocks_do_not_change_the_draws(monkeypatch):
    whole = bootstrap_weights(10, 20, seed=5)
    # Numbers are drawn image after image, so a block of three samples must give the same ones as a block of all.
    function = getattr(bootstrap_weights, "__wrapped__", bootstrap_weights)
    monkeypatch.setitem(function.__globals__, "BLOCK", 30)
    assert (bootstrap_weights(10, 20, seed=5) == whole).all()
