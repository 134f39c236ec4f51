"""One further draw, Welch and Holm: levels by simulation, scipy's and hand-made numbers."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from microtome.numerics.statistics.random_draws import (
    draw_range,
    draw_tail,
    holm_adjust,
    two_sided_draw_test,
    welch_test,
)


def test_a_further_draw_is_called_significant_in_five_per_cent():
    random = np.random.default_rng(0)
    draws = random.normal(3.0, 2.0, size=(4000, 21))
    p = np.array([two_sided_draw_test(row[0], row[1:]) for row in draws])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.01)
    inside = [low <= row[0] <= high for row in draws for low, high in [draw_range(row[1:])]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)
    assert (np.array(inside) == (p >= 0.05)).all()


def test_tails():
    draws = np.array([1.0, 2.0, 3.0])
    assert draw_tail(2.0, draws) == pytest.approx(0.5) and two_sided_draw_test(2.0, draws) == pytest.approx(1.0)
    assert draw_tail(9.0, draws) < 0.05 < 0.95 < draw_tail(-9.0, draws)
    assert two_sided_draw_test(-9.0, draws) == pytest.approx(two_sided_draw_test(13.0, draws))
    assert np.isnan(draw_tail(2.0, np.ones(4))) and np.isnan(draw_tail(2.0, np.ones(1)))


def test_welch_is_scipys():
    random = np.random.default_rng(1)
    first, second = random.normal(size=10), random.normal(0.5, 3.0, size=20)
    assert welch_test(first, second) == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue)
    assert np.isnan(welch_test(np.ones(3), np.zeros(4)))


def test_holm_by_hand():
    assert holm_adjust(np.array([[0.01, 0.04], [0.03, np.nan]])) == pytest.approx(
        np.array([[0.03, 0.06], [0.06, np.nan]]), nan_ok=True
    )
    assert holm_adjust(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])
