import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from microtome.numerics.statistics.intervals import (
    MIN_DIFFERENT,
    MIN_VALUES,
    bootstrap_weights,
    mean_interval,
    nan_mean,
    ratio_interval,
    wilson_interval,
)


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


def test_the_interval_of_a_mean_is_the_loop_over_resamples():
    values = np.random.default_rng(0).exponential(size=40)
    found = mean_interval(values, draws=500, seed=1)
    off = []
    for row in bootstrap_weights(40, 500, seed=1):
        drawn = np.repeat(values, row)
        off.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(40)))
    low, high = np.quantile(off, [0.025, 0.975])
    error = values.std(ddof=1) / np.sqrt(40)
    student = t.ppf(0.975, 39)
    expected = values.mean() - max(high, student) * error, values.mean() - min(low, -student) * error
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.high - found.value > found.value - found.low  # the long tail is above


def test_the_interval_of_a_large_sample_is_the_normal_one():
    values = np.random.default_rng(0).normal(3, 2, size=2500)
    found = mean_interval(values, draws=4000)
    half = 1.96 * values.std() / 50
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_a_ratio_with_a_constant_below_is_a_mean_and_its_scale_is_free():
    values = np.random.default_rng(1).gamma(3, size=30)
    assert ratio_interval(values, np.full(30, 2.0)) == pytest.approx(tuple(np.array(mean_interval(values)) / 2))
    over = values + np.random.default_rng(2).gamma(2, size=30)
    found, scaled = ratio_interval(values, over), ratio_interval(1000 * values, 10 * over)
    assert scaled == pytest.approx(tuple(100 * np.array(found)))


def test_the_interval_of_a_ratio_is_the_loop_over_resamples():
    generator = np.random.default_rng(4)
    values, over = generator.gamma(3, size=25), generator.gamma(6, size=25)

    def ratio_and_error(at):
        ratio = values[at].mean() / over[at].mean()
        return ratio, (values[at] - ratio * over[at]).std(ddof=1) / np.sqrt(25) / over[at].mean()

    value, error = ratio_and_error(np.arange(25))
    draws = [ratio_and_error(np.repeat(np.arange(25), row)) for row in bootstrap_weights(25, 600, seed=2)]
    low, high = np.quantile([(one - value) / each for one, each in draws], [0.025, 0.975])
    student = t.ppf(0.975, 24)
    expected = value, value - max(high, student) * error, value - min(low, -student) * error
    assert ratio_interval(values, over, draws=600, seed=2) == pytest.approx(expected, rel=1e-9)


def test_missing_values_are_left_out():
    values = np.array([1.0, np.nan, 3.0])
    assert nan_mean(values) == 2
    assert np.isnan(nan_mean(np.array([np.nan])))
    assert nan_mean(np.array([[1.0, np.nan], [np.nan, np.nan]])) == pytest.approx([1, np.nan], nan_ok=True)
    known = np.arange(24.0)
    assert mean_interval(np.append(known, np.nan)) == mean_interval(known)
    assert np.isnan(mean_interval(np.array([np.nan, np.nan]))).all()
    assert np.isnan(mean_interval(np.array([]))).all()


def test_too_few_or_equal_values_have_a_mean_without_an_interval():
    few, same = mean_interval(np.arange(MIN_VALUES - 1.0)), mean_interval(np.ones(50))
    rare = np.zeros(50)
    rare[: MIN_DIFFERENT - 1] = 1
    assert (few.value, same.value, mean_interval(rare).value) == (MIN_VALUES / 2 - 1, 1, (MIN_DIFFERENT - 1) / 50)
    assert np.isnan([few[1:], same[1:], mean_interval(rare)[1:]]).all()
    rare[MIN_DIFFERENT - 1] = 1
    assert np.isfinite(mean_interval(rare)).all()
    assert np.isfinite(mean_interval(np.arange(float(MIN_VALUES)))).all()


def test_whole_numbers_and_booleans_are_values_too():
    assert mean_interval(np.array([True, False] * 12)).value == 0.5


def test_blocks_do_not_change_the_draws(monkeypatch):
    whole = bootstrap_weights(10, 20, seed=5)
    # Numbers are drawn image after image, so a block of three samples must give the same ones as a block of all.
    function = getattr(bootstrap_weights, "__wrapped__", bootstrap_weights)
    monkeypatch.setitem(function.__globals__, "BLOCK", 30)
    assert (bootstrap_weights(10, 20, seed=5) == whole).all()
