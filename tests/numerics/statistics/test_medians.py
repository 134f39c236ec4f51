"""The median of repeated runs: by hand for seven values, and its coverage on a skewed distribution."""

import numpy as np

from microtome.numerics.statistics.medians import median_interval


def test_by_hand() -> None:
    # 7 values: P(median outside min and max) = 2 / 2**7 = 1.6%; with the second and sixth it is 2 * 8 / 128 = 12.5%.
    assert median_interval(np.array([7.0, 1.0, 5.0, 3.0, 2.0, 6.0, 4.0])) == (4.0, 1.0, 7.0)
    # 12 values: ranks 3 and 10 leave 2 * (1 + 12 + 66) / 4096 = 3.9%.
    assert median_interval(np.arange(1.0, 13.0)) == (6.5, 3.0, 10.0)


def test_too_few_values_have_no_interval() -> None:
    middle, low, high = median_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert middle == 3.0
    assert np.isnan(low)
    assert np.isnan(high)


def test_coverage_on_skewed_times() -> None:
    draws = np.random.default_rng(0).lognormal(size=(2000, 21))  # the true median is 1
    inside = [low <= 1.0 <= high for _, low, high in map(median_interval, draws)]
    assert 0.95 <= np.mean(inside) <= 0.99  # by the binomial: 97.3%
