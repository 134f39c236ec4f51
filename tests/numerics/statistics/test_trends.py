"""Intervals of trends, all samples at once, against a plain loop over the same samples."""

import numpy as np
import pytest
from scipy.stats import t

from microtome.numerics.statistics.intervals import bootstrap_weights
from microtome.numerics.statistics.trends import loss_difference, relative_loss, slope_interval


def looped(count, value_and_error, freedom, seed):
    """The studentised interval by one call of `value_and_error` with the places of each sample."""
    value, error = value_and_error(np.arange(count))
    draws = [value_and_error(np.repeat(np.arange(count), row)) for row in bootstrap_weights(count, 2000, seed)]
    with np.errstate(all="ignore"):
        off = np.array([(one - value) / each for one, each in draws])
    low, high = np.quantile(off[~np.isnan(off)], [0.025, 0.975])
    student = t.ppf(0.975, freedom)
    return value, value - max(high, student) * error, value - min(low, -student) * error


@pytest.mark.parametrize("levels", [0, 3])
def test_slope_is_the_loop_over_samples(levels):
    generator = np.random.default_rng(1)
    x = generator.normal(50, 1, 40) if not levels else generator.integers(0, levels, 40).astype(float)
    y = 2 * x + generator.normal(size=40)

    def line(at):
        slope, start = np.polyfit(x[at], y[at], 1)
        rest, away = y[at] - start - slope * x[at], x[at] - x[at].mean()
        return slope, np.sqrt(40 / 38 * ((away * rest) ** 2).sum()) / (away**2).sum()

    assert slope_interval(y, x, seed=4) == pytest.approx(looped(40, line, 38, 4), rel=1e-7)


def test_a_slope_of_hardly_varying_values_has_no_interval():
    values = np.zeros(30)
    values[:3] = 1
    found = slope_interval(values, np.arange(30.0))
    assert found.value == pytest.approx(np.polyfit(np.arange(30.0), values, 1)[0])
    assert np.isnan(found[1:]).all()
    assert np.isnan(slope_interval(values, np.ones(30))).all()


def test_relative_loss_is_the_loop_over_samples():
    generator = np.random.default_rng(2)
    values = generator.normal(0.2, 0.5, 45)  # some samples have no positive first mean
    values[7] = np.nan
    first, last = np.arange(45) < 12, np.arange(45) >= 30
    known = (first | last) & ~np.isnan(values)
    y, end = values[known], last[known]

    def loss(at):
        early, late = y[at][~end[at]], y[at][end[at]]
        if min(len(early), len(late)) < 2 or early.mean() <= 0:
            return np.nan, np.nan
        ratio = late.mean() / early.mean()
        return 1 - ratio, np.sqrt(late.var(ddof=1) / len(late) + ratio**2 * early.var(ddof=1) / len(early)) / early.mean()

    found = relative_loss(values, first, last, seed=3)
    assert found == pytest.approx(looped(len(y), loss, 10, 3), rel=1e-9)
    assert found.low < found.value < found.high


def test_a_difference_of_losses_is_that_of_the_two_losses() -> None:
    random = np.random.default_rng(0)
    first, last = np.arange(90) < 40, np.arange(90) >= 50
    values, other = random.gamma(4, size=(2, 90)) * np.where(last, 0.5, 1.0)
    found = loss_difference(values, other, first, last)
    losses = [1 - each[last].mean() / each[first].mean() for each in (values, other)]
    assert found.value == pytest.approx(losses[0] - losses[1])
    assert found.low < found.value < found.high
    turned = loss_difference(other, values, first, last)
    assert turned.value == pytest.approx(-found.value)


def test_pairing_makes_a_difference_of_losses_narrow() -> None:
    random = np.random.default_rng(1)
    first, last = np.arange(100) < 50, np.arange(100) >= 50
    shared = random.gamma(2, size=100)
    values, other = (shared * random.normal(1, 0.02, 100) for _ in range(2))
    both, alone = loss_difference(values, other, first, last), relative_loss(values, first, last)
    assert both.high - both.low < 0.2 * (alone.high - alone.low)


def test_a_difference_of_losses_needs_differing_images_and_positive_means() -> None:
    ones, first = np.ones(60), np.arange(60) < 30
    assert np.isnan(loss_difference(ones, ones, first, ~first).low) and loss_difference(ones, ones, first, ~first).value == 0
    assert np.isnan(loss_difference(-ones, ones, first, ~first).value)
    assert np.isnan(loss_difference(ones[:9], ones[:9], first[:9], ~first[:9]).value)


def test_a_higher_level_widens_the_slope() -> None:
    random = np.random.default_rng(2)
    x = random.random(80)
    y = x + random.normal(size=80)
    narrow, wide = slope_interval(y, x), slope_interval(y, x, level=0.99)
    assert narrow.value == wide.value and wide.low < narrow.low and wide.high > narrow.high
