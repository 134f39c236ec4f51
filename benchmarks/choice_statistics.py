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
    known = np.isfinite(truth) & ~np.isnan(score)
    if known.sum() < MIN_CANDIDATES:
        return float("nan")
    own, real = np.asarray(score, dtype=np.float64)[known], np.asarray(truth, dtype=np.float64)[known]
    count = np.ones(len(own)) if weights is None else np.asarray(weights, dtype=np.float64)[known]
    pair = np.triu(np.outer(count, count), 1)
    left = (own[:, None] > own).astype(int) - (own[:, None] < own)  # no differences: infinite scores are ties
    right = (real[:, None] > real).astype(int) - (real[:, None] < real)
    ends = (pair * (left != 0)).sum() * (pair * (right != 0)).sum()
    return float((pair * left * right).sum() / np.sqrt(ends)) if ends else float("nan")


def regret(score: Values, truth: Values) -> float:
    """The truth of the best candidate minus that of the one with the highest score; of equal scores the mean. All candidates count."""
    if np.isnan(score).all():
        return float("nan")
    first = score == np.nanmax(score)
    return float(np.nanmax(truth) - np.nanmean(truth[first]))


def task_values(score: Values, truths: Values, measure: str = "tau", weights: Values | None = None) -> Values:
    """Tau or regret of each task (task,): the mean over truths and draws that have one.

    `score` is (task, draw, candidate), `truths` (truth, task, draw, candidate).
    """
    values = np.array([
        [[_measure(measure, *pair, weights) for pair in zip(own, real, strict=True)] for own, real in zip(score, truth, strict=True)]
        for truth in truths
    ])  # fmt: skip
    return nan_mean(values.transpose(1, 0, 2).reshape(len(score), -1))


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
    drawn = np.empty(draws)
    for draw in range(draws):
        chosen = known[random.integers(0, tasks, tasks)]
        weights = np.bincount(random.integers(0, count, count), minlength=count)
        different, places = np.unique(chosen, return_inverse=True)
        drawn[draw] = nan_mean(task_values(score[different], truths[:, different], measure, weights)[places])
    half = float(student_quantile((1 + level) / 2, tasks - 1)) * float(np.nanstd(drawn)) * np.sqrt(tasks / (tasks - 1))
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _measure(measure: str, score: Values, truth: Values, weights: Values | None) -> float:
    return kendall_tau(score, truth, weights) if measure == "tau" else regret(score, truth)
