"""Several untrained twins: range, side, and how often exchangeable weights are called apart."""

import numpy as np
import pytest
from scipy.stats import t

from microtome.numerics.statistics.twins import side_of_twins, twin_range


def test_mean_and_range_leave_out_missing_twins() -> None:
    found = twin_range(np.array([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]]))
    np.testing.assert_equal(found.mean, [2.0, 4.0, np.nan])
    np.testing.assert_equal(found.low, [1.0, 4.0, np.nan])
    np.testing.assert_equal(found.high, [3.0, 4.0, np.nan])


def test_sides_by_hand() -> None:
    """Twins -2 to 2: mean 0, standard deviation √2.5; the bound for a sixth is 2.776·√2.5·√1.2 = 4.81 on either side."""
    twins = np.arange(-2.0, 3.0)[:, None]
    bound = -t.ppf(0.975, 4) * np.sqrt(2.5) * np.sqrt(1.2)
    assert bound == pytest.approx(-4.81, abs=0.005)
    values = np.array([bound - 0.01, bound + 0.01, -2.1, 0.0, -bound - 0.01, -bound + 0.01])
    assert side_of_twins(values, values, np.repeat(twins, 6, 1)).tolist() == [-1, 0, 0, 0, 0, 1]
    assert side_of_twins(values - 1, values + 1, np.repeat(twins, 6, 1)).tolist() == [0] * 6  # the interval reaches in


def test_positive_values_lie_beyond_in_both_scales() -> None:
    """Twins 1 to 5: 7.81 bounds a sixth by differences, exp(0.957 + 2.776·0.635·√1.2) = 18.0 by factors: above is above both. Below,
    no positive value lies beyond the bound of the differences, -1.81; of twins 11 to 15 it is 8.19, by factors 8.9: below is below both."""
    twins = np.arange(1.0, 6.0)
    logs = np.log(twins)
    most = np.exp(logs.mean() + t.ppf(0.975, 4) * logs.std(ddof=1) * np.sqrt(1.2))
    assert most == pytest.approx(18.0, abs=0.1)
    values = np.array([0.01, 7.9, most - 0.1, most + 0.1])
    assert side_of_twins(values, values, np.repeat(twins[:, None], 4, 1)).tolist() == [0, 0, 0, 1]
    near = np.array([8.1, 8.3])
    assert side_of_twins(near, near, np.repeat(10 + twins[:, None], 2, 1)).tolist() == [-1, 0]


def test_ratios_are_judged_by_their_logarithms() -> None:
    """Twins e¹ to e⁵ are 1 to 5 in logarithms; on the plain scale their bound is below 0, where no distance ever is."""
    twins = np.exp(np.arange(1.0, 6.0))[:, None]
    low = np.exp(3 - t.ppf(0.975, 4) * np.sqrt(3.0))
    value = np.array([low * 0.99, low * 1.01, 0.0])
    assert side_of_twins(value, value, np.repeat(twins, 3, 1), ratio=True).tolist() == [-1, 0, -1]
    assert side_of_twins(value, value, np.repeat(twins, 3, 1)).tolist() == [0, 0, 0]


def test_nothing_is_said_from_one_twin_or_without_numbers() -> None:
    one = np.array([[5.0]])
    assert side_of_twins(np.array([0.0]), np.array([0.0]), one).tolist() == [0]
    assert side_of_twins(np.array([np.nan]), np.array([np.nan]), np.arange(5.0)[:, None]).tolist() == [0]
    assert side_of_twins(np.array([0.0]), np.array([0.0]), np.full((5, 1), np.nan)).tolist() == [0]
    assert side_of_twins(np.array([0.0]), np.array([0.0]), np.array([[5.0], [np.nan], [5.0]])).tolist() == [
        -1
    ]  # two are enough


@pytest.mark.parametrize("draw", ["normal", "lognormal", "uniform", "exponential"])
def test_a_sixth_set_of_random_weights_is_rarely_called_apart(draw: str) -> None:
    """Nominal 5%; the smallest of five alone would call 2 in 6 apart. 20,000 draws: a standard error of 0.0015 at 5%."""
    random = np.random.default_rng(0)
    kinds = {
        "normal": lambda shape: random.normal(size=shape),
        "lognormal": lambda shape: random.lognormal(0, 0.5, size=shape),
        "uniform": lambda shape: random.uniform(size=shape),
        "exponential": lambda shape: random.exponential(size=shape),
    }
    values = kinds[draw]((6, 20_000))
    if draw == "lognormal":
        in_ratio = side_of_twins(values[0], values[0], values[1:], ratio=True)
        assert float((in_ratio != 0).mean()) <= 0.055
    rate = float((side_of_twins(values[0], values[0], values[1:]) != 0).mean())
    alone = float(((values[0] < values[1:].min(0)) | (values[0] > values[1:].max(0))).mean())
    assert rate <= {"normal": 0.055, "uniform": 0.055, "lognormal": 0.07, "exponential": 0.09}[draw]
    assert alone == pytest.approx(1 / 3, abs=0.015)


def test_values_far_away_are_always_called_apart() -> None:
    random = np.random.default_rng(1)
    twins = random.normal(size=(5, 5000))
    far = np.full(5000, -12.0)
    assert (side_of_twins(far, far, twins) == -1).mean() > 0.99
