"""The jackknife: of a mean it is the standard error of the mean; bounds only where a statistic varies."""

import numpy as np
import pytest
from scipy.stats import t

from microtome.numerics.statistics.jackknife import jackknife_intervals


def test_of_a_mean_without_single_images_it_is_students_interval() -> None:
    values = np.random.default_rng(0).normal(size=12)
    without = np.array([[np.delete(values, place).mean()] for place in range(12)])
    found = jackknife_intervals(np.array([values.mean()]), without)
    half = t.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert found.low[0] == pytest.approx(values.mean() - half)
    assert found.high[0] == pytest.approx(values.mean() + half)


def test_what_is_unbounded_or_never_changes_has_no_bounds() -> None:
    found = jackknife_intervals(np.array([np.inf, 2.0, 1.0]), np.array([[1.0, 2.0, 0.9], [np.inf, 2.0, 1.1]]))
    assert np.isnan(found.low[:2]).all() and np.isnan(found.high[:2]).all()
    assert found.low[2] < 1.0 < found.high[2]
    assert found.value.tolist() == [np.inf, 2.0, 1.0]
