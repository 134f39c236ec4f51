"""How often the intervals of the calibration error, of the drift, and of a mean tau or regret over tasks hold the true value."""

from collections.abc import Iterator

import numpy as np
from scipy.special import expit

from benchmarks.choice_statistics import crossed_interval
from benchmarks.coverage_cases import Array, Case, Row, simulate
from microtome.analyses.robustness.viewing import mean_distances
from microtome.numerics.statistics.calibration import calibration_error, mean_calibration
from microtome.numerics.statistics.intervals import Interval, ratio_interval

VIEWS, TASKS, CANDIDATES = 15, (5, 8, 12), 13
BOOTSTRAP = 300  # draws of the bootstrap within a simulation of tau
MOST = 300  # simulated benchmarks at most
TRUE_DRAWS = 4000


def rows(draws: int) -> Iterator[Row]:
    """All rows."""
    for case in [*_calibration_cases(), _drift_case()]:
        for n in case.sizes:
            yield simulate(case, n, draws)
    for measure in ("tau", "regret"):
        for tasks in TASKS:
            yield _benchmark_row(measure, tasks, min(draws, MOST))


def _answers(random: np.random.Generator, n: int, views: int, gap: float) -> tuple[Array, Array]:
    """Probabilities and answers (image, view) that are right `gap` less often than they say; views of an image go together."""
    sure = np.clip(random.beta(4, 1, (n, 1)) - 0.1 * random.random((n, views)) - 0.02 * np.arange(views), 0.1, 1.0)
    luck = np.where(random.random((n, views)) < 0.6, random.random((n, 1)), random.random((n, views)))
    return sure, (luck < np.clip(sure - gap, 0, 1)).astype(float)


def _calibration_cases() -> Iterator[Case]:
    for name, gap in (("calibrated", 0.0), ("too sure by 5 points", 0.05), ("too sure by 20 points", 0.2)):
        sure, right = _answers(np.random.default_rng(1), 200_000, VIEWS, gap)
        truth = float(np.mean([calibration_error(sure[:, view], right[:, view]) for view in range(VIEWS)]))

        def error(random: np.random.Generator, n: int, gap: float = gap) -> Interval:
            return mean_calibration(*_answers(random, n, VIEWS, gap), draws=300)

        title = f"{name}, {VIEWS} corruptions of each image"
        yield Case("calibration error, bootstrap of the gaps", "robustness", title, truth, error, (8, 20, 50, 200))


def _drift_case() -> Case:
    """Distances moved that grow with the norm of an image's features, over distances to the other images."""

    def features(random: np.random.Generator, n: int) -> tuple[Array, Array]:
        values = random.normal(size=(n, 20)) * np.linspace(2, 0.2, 20)
        return values, np.linalg.norm(values, axis=1) * random.lognormal(-1, 0.3, n)

    def drift(random: np.random.Generator, n: int) -> Interval:
        values, moved = features(random, n)
        return ratio_interval(moved, mean_distances(values))

    random = np.random.default_rng(2)
    many, moved = features(random, 400_000)
    truth = float(moved.mean() / np.linalg.norm(many[::2] - many[1::2], axis=1).mean())
    return Case(
        "ratio of means, studentised", "robustness", "drift that grows with the features", truth, drift, (8, 20, 50, 200)
    )


def _benchmark(random: np.random.Generator, tasks: int) -> tuple[Array, Array]:
    """Scores (task, 1, candidate) and truths (2, task, 1, candidate): candidates good in general, and better for some tasks."""
    good = random.normal(size=(1, 1, CANDIDATES)) + 0.7 * random.normal(size=(tasks, 1, CANDIDATES))
    noise = random.gamma(2, 0.5, (tasks, 1, 1))  # the score misleads more in some tasks
    score = good + noise * random.normal(size=good.shape)
    return score, expit(good + 0.3 * random.normal(size=(2, *good.shape)))


def _benchmark_row(measure: str, tasks: int, draws: int) -> Row:
    random = np.random.default_rng([0, tasks, *measure.encode()])
    truth = (
        crossed_interval(*_benchmark(random, TRUE_DRAWS), measure, draws=1).value if measure == "regret" else _true_tau(random)
    )
    found = [crossed_interval(*_benchmark(random, tasks), measure, draws=BOOTSTRAP) for _ in range(draws)]
    held = sum(each.low <= truth <= each.high for each in found)
    title = f"{CANDIDATES} candidates, scores of unequal noise"
    interval = "mean tau over tasks, crossed bootstrap" if measure == "tau" else "mean regret over tasks, mean between 0 and 1"
    return Row(interval, "page of choice", title, tasks, 0.95, held, draws, draws)


def _true_tau(random: np.random.Generator) -> float:
    """The mean tau of benchmarks with other candidates each time."""
    return float(np.mean([crossed_interval(*_benchmark(random, 3), "tau", draws=1).value for _ in range(TRUE_DRAWS // 3)]))
