"""Balanced accuracy against scikit-learn's; the coverage of its interval; weights by hand."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from microtome.numerics.statistics.balanced import (
    balanced_accuracy,
    bootstrap_class_weights,
    class_imbalance,
    class_weights,
)


@pytest.mark.parametrize("seed", range(5))
def test_the_value_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = np.concatenate([np.arange(4), rng.choice(4, 60, p=[0.7, 0.2, 0.05, 0.05])])
    predicted = np.where(rng.random(64) < 0.7, classes, rng.integers(0, 4, 64))
    found = balanced_accuracy(predicted == classes, classes)
    assert found.value == pytest.approx(balanced_accuracy_score(classes, predicted), abs=1e-12)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(
    ("counts", "recalls"),
    [
        ((50, 20, 10), (0.9, 0.8, 0.6)),
        ((30, 5, 5, 5), (0.8, 0.8, 0.7, 0.9)),
        ((40, 20, 3), (0.95, 0.9, 0.8)),
        ((30, 30), (0.9, 0.6)),
    ],
)
def test_the_interval_covers_the_truth_in_95_of_100_draws(counts: tuple[int, ...], recalls: tuple[float, ...]) -> None:
    rng, classes = np.random.default_rng(0), np.repeat(np.arange(len(counts)), counts)
    each = np.repeat(recalls, counts)
    intervals = [balanced_accuracy(rng.random(len(classes)) < each, classes) for _ in range(1500)]
    assert 0.93 <= np.mean([one.low <= np.mean(recalls) <= one.high for one in intervals]) <= 0.98


def test_weights_and_imbalance_by_hand() -> None:
    classes = np.array([0, 0, 0, 2])
    assert class_weights(classes).tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert class_imbalance(classes) == 3.0
    assert class_imbalance(np.array([-1, 4])) == class_imbalance(np.array([-1])) == 1.0
    draws = bootstrap_class_weights(classes, 50, 0)
    assert draws.sum(1) == pytest.approx(np.ones(50))
    assert (draws[:, 3] == 0.5).all(), "a class never vanishes from a sample"
    assert len({tuple(row) for row in draws}) > 5


def test_a_class_all_right_is_not_certain_and_no_image_no_number() -> None:
    sure = balanced_accuracy(np.ones(8), np.array([0, 0, 0, 0, 0, 0, 1, 1]))
    assert sure.value == sure.high == 1.0
    assert sure.low < 0.85
    assert np.isnan(balanced_accuracy(np.zeros(0), np.zeros(0, dtype=int)).value)
