"""Intervals of trends, all samples at once, against a plain loop over the same samples."""

import numpy as np
import pytest

from microtome.numerics.statistics.intervals import bootstrap_interval
from microtome.numerics.statistics.trends import median_bootstrap_interval, relative_loss, slope_interval


def looped(count, statistic, seed):
    """The interval by one call of `statistic` with the places of each sample."""
    return bootstrap_interval(np.arange(count), lambda places: statistic(places.astype(int)), seed=seed)


@pytest.mark.parametrize("levels", [0, 3])
def test_slope_is_the_loop_over_samples(levels):
    generator = np.random.default_rng(1)
    x = generator.normal(50, 1, 40) if not levels else generator.integers(0, levels, 40).astype(float)
    y = 2 * x + generator.normal(size=40)

    def line(at):
        return np.polyfit(x[at], y[at], 1)[0]

    assert slope_interval(y, x, seed=4) == pytest.approx(looped(40, line, 4), rel=1e-9)


def test_samples_of_one_place_only_have_no_slope():
    # Of 10 images one stands elsewhere: about (1 - 1/10)^10 = 35 % of the samples miss it and are left out; all others
    # have a slope of (7 - 5) / (2 - 1) exactly.
    x, y = np.full(10, 0.1), np.full(10, 5.0)
    x[3], y[3] = 1.1, 7.0
    assert slope_interval(y, x) == pytest.approx((2, 2, 2))


def test_relative_loss_is_the_loop_over_samples():
    generator = np.random.default_rng(2)
    values = generator.normal(0.2, 0.5, 45)  # some samples have no positive first mean
    values[7] = np.nan
    first, last = np.arange(45) < 12, np.arange(45) >= 30
    known = (first | last) & ~np.isnan(values)
    y, end = values[known], last[known]

    def loss(at):
        early, late = y[at][~end[at]], y[at][end[at]]
        return 1 - late.mean() / early.mean() if len(early) and len(late) and early.mean() > 0 else np.nan

    found = relative_loss(values, first, last, seed=3)
    assert found == pytest.approx(looped(len(y), loss, 3), rel=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("count", [12, 13, 40])
def test_median_is_the_loop_over_samples(count):
    values = np.random.default_rng(count).exponential(size=count)
    values[:3] = values[5]  # equal values
    assert median_bootstrap_interval(values, seed=5) == bootstrap_interval(values, np.median, seed=5)
