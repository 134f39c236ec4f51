"""How often the jackknife intervals of the scores of transferability hold the score that sets of so many images have on average."""

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.coverage_cases import Array, Row
from microtome.analyses.transfer.scoring import SCORES, layer_scores
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.transferability.evidence import logme

SETTINGS = ((40, 64, 4), (100, 64, 5), (100, 512, 5), (300, 64, 10))  # images, features, classes
SHAPES: dict[str, Callable[[Array], Array]] = {"Gaussian classes": lambda x: x, "rectified": lambda x: np.maximum(x, 0.0)}
BOOTSTRAP_DRAWS = 200
DRAWS = 400  # at most: a draw is eleven sets of scores


def drawn(random: np.random.Generator, images: int, width: int, classes: int) -> tuple[Array, Array]:
    """Features of classes with fixed means, and labels, equally many of each."""
    means = np.random.default_rng(99).normal(size=(classes, width)) * 4 / np.sqrt(width)
    labels = np.arange(images) % classes
    return means[labels] + random.normal(size=(images, width)) * np.linspace(2, 0.3, width), labels


def rows(draws: int, seed: int = 0) -> Iterator[Row]:
    """One row for each score and setting."""
    count = min(draws, DRAWS)
    for images, width, classes in SETTINGS:
        for shape, form in SHAPES.items():
            random = np.random.default_rng([seed, images, width])
            runs: list[dict[str, Interval]] = []
            for _ in range(count):
                features, labels = drawn(random, images, width, classes)
                runs.append(layer_scores(form(features), labels))
            for name, title in SCORES.items():
                yield _row(f"{title}, {shape}, {width} features, {classes} classes", images, [run[name] for run in runs])


def _row(what: str, images: int, intervals: list[Interval]) -> Row:
    truth = float(np.mean([interval.value for interval in intervals]))
    printed = [interval for interval in intervals if np.isfinite(interval.low)]
    held = sum(interval.low <= truth <= interval.high for interval in printed)
    return Row("scores of transferability, jackknife", "transfer", what, images, 0.95, held, len(printed), len(intervals))


def bootstrap_coverage(images: int, width: int, classes: int, draws: int, seed: int = 0) -> float:
    """The coverage that the percentile bootstrap within classes has for LogME; it is not used."""
    random = np.random.default_rng([seed, images, width])
    values, ends = list[float](), list[tuple[float, float]]()
    for _ in range(draws):
        features, labels = drawn(random, images, width, classes)
        values.append(logme(features, labels))
        places = [np.flatnonzero(labels == label) for label in range(classes)]
        again = [np.concatenate([random.choice(own, len(own)) for own in places]) for _ in range(BOOTSTRAP_DRAWS)]
        scores = [logme(features[some], labels[some]) for some in again]
        low, high = np.nanquantile(np.array(scores), [0.025, 0.975], method="nearest")
        ends.append((float(low), float(high)))
    truth = float(np.mean(values))
    return float(np.mean([low <= truth <= high for low, high in ends]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="The coverage of the intervals of transferability scores, one row for each case."
    )
    parser.add_argument("--draws", type=int, default=DRAWS)
    for row in rows(parser.parse_args().draws):
        print(f"{row.distribution:70s} n = {row.n:4d}  {100 * row.coverage:.1f}% of {row.printed}, {row.verdict}", flush=True)
    print(f"percentile bootstrap of LogME, 100 images, 64 features: {100 * bootstrap_coverage(100, 64, 5, 100):.1f}%")
