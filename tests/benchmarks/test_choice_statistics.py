"""Tau and regret of rankings made by hand, and against scipy; intervals that hold what they should."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from benchmarks.choice_statistics import crossed_interval, kendall_tau, regret, task_values


def test_tau_by_hand() -> None:
    """Of three pairs two agree and one does not: (2 - 1) / 3."""
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(1 / 3)
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])) == 1.0
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.2, 0.1])) == -1.0
    assert np.isnan(kendall_tau(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])))
    assert np.isnan(kendall_tau(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


def test_unknown_scores_are_left_out_and_infinite_ones_come_first() -> None:
    truth = np.array([0.1, 0.9, 0.2, 0.3])
    assert kendall_tau(np.array([1.0, np.nan, 2.0, 3.0]), truth) == 1.0
    assert kendall_tau(np.array([-np.inf, np.inf, 2.0, 3.0]), truth) == 1.0
    assert kendall_tau(np.array([np.inf, np.inf, 2.0, 3.0]), truth) == pytest.approx(kendalltau([9, 9, 2, 3], truth).statistic)


@pytest.mark.parametrize("seed", range(5))
def test_tau_is_that_of_scipy_with_ties_and_repeated_candidates(seed: int) -> None:
    random = np.random.default_rng(seed)
    score, truth = random.integers(0, 4, 12).astype(float), random.integers(0, 5, 12).astype(float)
    assert kendall_tau(score, truth) == pytest.approx(kendalltau(score, truth).statistic)
    weights = random.integers(0, 2, 12)  # 0 or 1: candidates taken out
    some = weights > 0
    assert kendall_tau(score, truth, weights) == pytest.approx(kendalltau(score[some], truth[some]).statistic)


def test_a_candidate_drawn_twice_makes_no_pair_with_itself() -> None:
    """Weights 2, 1, 1: pairs count 2, 2 and 1; the one that disagrees counts 1: (4 - 1) / 5."""
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]), np.array([2, 1, 1])) == pytest.approx(3 / 5)


def test_regret_by_hand() -> None:
    truth = np.array([0.5, 0.9, 0.7])
    assert regret(np.array([3.0, 2.0, 1.0]), truth) == pytest.approx(0.4)
    assert regret(np.array([1.0, 2.0, 1.0]), truth) == 0.0
    assert regret(np.array([2.0, np.nan, 2.0]), truth) == pytest.approx(0.3)  # the best had no score; of equal ones the mean
    assert np.isnan(regret(np.full(3, np.nan), truth))


def test_values_of_a_task_are_means_over_truths_and_draws() -> None:
    score = np.array([[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]])
    truths = np.array([[[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]], [[[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]]])
    assert task_values(score, truths).tolist() == [0.5]  # 1, -1 and 1, 1
    assert task_values(score, truths, "regret").tolist() == [0.5]  # 0, 2 and 0, 0


def test_the_interval_widens_with_tasks_and_candidates() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(1, 12, 1, 15))
    score = truth[0] + random.normal(size=(12, 1, 15))
    whole = crossed_interval(score, truth, draws=200)
    few = crossed_interval(score[:4], truth[:, :4], draws=200)
    assert -1 <= few.low < whole.low < whole.value < whole.high < few.high <= 1
    assert np.isnan(crossed_interval(score[:2], truth[:, :2]).low) and np.isfinite(
        crossed_interval(score[:2], truth[:, :2]).value
    )
    exact = crossed_interval(truth[0], truth, draws=200)
    assert exact.value == exact.high == 1.0
    assert crossed_interval(truth[0], truth, "regret", draws=200).value == 0.0
