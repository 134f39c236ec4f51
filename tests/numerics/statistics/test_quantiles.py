"""Quantiles and tails agree with scipy.stats, the slow twin."""

import numpy as np
import pytest
from scipy import stats

from microtome.numerics.statistics.quantiles import (
    beta_quantile,
    fisher_tail,
    normal_quantile,
    normal_tail,
    prediction_error,
    student_quantile,
    student_tail,
)

PROBABILITIES = np.array([0.001, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9999])


@pytest.mark.parametrize("freedom", [0.5, 1, 2.7, 4, 30, 1e6, np.inf])
def test_student_agrees(freedom: float) -> None:
    np.testing.assert_allclose(
        student_quantile(PROBABILITIES, freedom), stats.t.ppf(PROBABILITIES, freedom), rtol=1e-9, atol=1e-12
    )


def test_student_without_freedom_is_unknown() -> None:
    np.testing.assert_array_equal(student_quantile(0.975, np.array([0.0, -1.0, np.nan, 3.0])) > 0, [False, False, False, True])
    assert np.isnan(student_quantile(0.975, 0))


def test_normal_agrees() -> None:
    np.testing.assert_allclose(normal_quantile(PROBABILITIES), stats.norm.ppf(PROBABILITIES), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(normal_tail([-3.0, 0.0, 2.0, 9.0]), stats.norm.sf([-3.0, 0.0, 2.0, 9.0]), rtol=1e-12)


@pytest.mark.parametrize(("first", "second"), [(1, 9), (3.5, 0.5), (20, 31)])
def test_beta_agrees(first: float, second: float) -> None:
    np.testing.assert_allclose(
        beta_quantile(PROBABILITIES, first, second), stats.beta.ppf(PROBABILITIES, first, second), rtol=1e-9
    )


def test_fisher_agrees() -> None:
    np.testing.assert_allclose(fisher_tail([0.2, 1.0, 4.0], 3, 17), stats.f.sf([0.2, 1.0, 4.0], 3, 17), rtol=1e-12)


def test_student_tail_agrees() -> None:
    np.testing.assert_allclose(student_tail([-2.0, 0.0, 1.5, 40.0], 3), stats.t.sf([-2.0, 0.0, 1.5, 40.0], 3), rtol=1e-12)


def test_one_further_value_of_four_lies_in_its_interval_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(20_000, 5))
    known, further = draws[:, :4], draws[:, 4]
    reach = student_quantile(0.95, 3) * prediction_error(known.std(1, ddof=1), 4)
    assert np.mean(np.abs(further - known.mean(1)) <= reach) == pytest.approx(0.9, abs=0.01)
