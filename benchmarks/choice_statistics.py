"""Kendall's tau and the regret of a choice, and how sure their means over tasks are.

Source: tau-b, Kendall 1945, "The treatment of ties in ranking problems"; bootstrap of two crossed factors (tasks and candidates), Owen
2007, "The pigeonhole bootstrap"; a pair of the same candidate drawn twice is no pair. That Student's quantile widens its interval is ours.
"""

from typing import Any

import numpy as np

from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval, nan_mean
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.numerics.statistics.quantiles import student_quantile

Values = np.ndarray[Any, Any]
DRAWS = 2000
MIN_TASKS = 3  # with fewer there is no interval over tasks
MIN_CANDIDATES = 3  # with a known score; with fewer a task has no tau


def kendall_tau(score: Values, truth: Values, weights: Values | None = None) -> float:
    """Kendall's tau-b of the candidates that have both; each pair counts as often as the product of its `weights`.

    Not a number for fewer than `MIN_CANDIDATES` candidates, or where all scores or all truths are equal.
    """
    return float(weighted_taus(score, truth, np.ones((1, len(score))) if weights is None else np.asarray(weights)[None])[0])


def weighted_taus(score: Values, truth: Values, weights: Values) -> Values:
    """`kendall_tau` for each row of `weights` (draw, candidate)."""
    known = np.isfinite(truth) & ~np.isnan(score)
    if known.sum() < MIN_CANDIDATES:
        return np.full(len(weights), np.nan)
    own, real = np.asarray(score, dtype=np.float64)[known], np.asarray(truth, dtype=np.float64)[known]
    count = np.asarray(weights, dtype=np.float64)[:, known]
    left = (own[:, None] > own).astype(float) - (own[:, None] < own)  # no differences: infinite scores are ties
    right = (real[:, None] > real).astype(float) - (real[:, None] < real)
    agreeing, unequal, apart = ((count @ pairs * count).sum(1) for pairs in (left * right, np.abs(left), np.abs(right)))
    ends = np.sqrt(unequal * apart)
    return np.divide(agreeing, ends, out=np.full(len(count), np.nan), where=ends > 0)


def regret(score: Values, truth: Values) -> float:
    """The truth of the best candidate minus that of the one with the highest score; of equal scores the mean. All candidates count."""
    if np.isnan(score).all():
        return float("nan")
    first = score == np.nanmax(score)
    return float(np.nanmax(truth) - np.nanmean(truth[first]))


def task_values(score: Values, truths: Values, measure: str = "tau") -> Values:
    """Tau or regret of each task (task,): the mean over truths and draws that have one.

    `score` is (task, draw, candidate), `truths` (truth, task, draw, candidate).
    """
    if measure == "tau":
        return _drawn_taus(score, truths, np.ones((1, score.shape[2])))[:, 0]
    values = [[[regret(own, real) for own, real in zip(score[task], truth[task], strict=True)] for truth in truths]
              for task in range(len(score))]  # fmt: skip
    return nan_mean(np.array(values).reshape(len(score), -1))


def _drawn_taus(score: Values, truths: Values, weights: Values) -> Values:
    """The mean tau of each task (task, draw of the weights) over truths and draws of the training images."""
    values = [[weighted_taus(own, real, weights) for truth in truths for own, real in zip(score[task], truth[task], strict=True)]
              for task in range(len(score))]  # fmt: skip
    return nan_mean(np.array(values).transpose(0, 2, 1))


def crossed_interval(
    score: Values, truths: Values, measure: str = "tau", draws: int = DRAWS, seed: int = 0, level: float = 0.95
) -> Interval:
    """The mean over tasks of `task_values`, with its interval over tasks and candidates.

    Tasks and candidates are drawn anew for tau; the interval is Student's, with the standard deviation over draws, widened by the root of
    n / (n - 1). That of the regret (of accuracies between 0 and 1) is of a mean between 0 and 1 over tasks alone: few tasks with a large
    regret decide, and a bootstrap of them covers too little. No bounds below `MIN_TASKS`.
    """
    values = task_values(score, truths, measure)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return UNKNOWN_INTERVAL
    mean, tasks, count = float(values[known].mean()), len(known), score.shape[2]
    if tasks < MIN_TASKS:
        return Interval(mean, float("nan"), float("nan"))
    if measure == "regret":
        return bounded_mean_interval(values[known])
    random = np.random.default_rng(seed)
    chosen = known[random.integers(0, tasks, (draws, tasks))]
    counted = random.integers(0, count, (draws, count)) + count * np.arange(draws)[:, None]
    weights = np.bincount(counted.ravel(), minlength=draws * count).reshape(draws, count)
    drawn = nan_mean(_drawn_taus(score, truths, weights)[chosen, np.arange(draws)[:, None]])
    half = float(student_quantile((1 + level) / 2, tasks - 1)) * float(np.nanstd(drawn)) * np.sqrt(tasks / (tasks - 1))
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))
