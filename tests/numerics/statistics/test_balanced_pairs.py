"""Balanced accuracy pair by pair: by hand, and how often equal networks are told apart."""

import numpy as np
import pytest

from microtome.numerics.statistics.balanced_pairs import compare_balanced
from microtome.numerics.statistics.equivalence import compare_paired

CLASSES = np.repeat([0, 1, 2], [120, 20, 20])


def test_balanced_accuracy_of_a_pair_by_hand():
    """a is right on all of class 0 and half of the others, b on half of class 0 and all others: 2/3 and 5/6, the mean is (4/3, 1)/2."""
    half = np.arange(160) % 2 == 0
    pair = np.stack([np.where(CLASSES == 0, True, half), np.where(CLASSES == 0, half, True)]).astype(float)
    found = compare_balanced(pair, CLASSES)
    assert found.accuracy.tolist() == pytest.approx([2 / 3, 5 / 6])
    assert found.loss[0, 1] == pytest.approx(1 / 6)
    assert found.low[0, 1] > 0
    assert compare_paired(pair).loss[0, 1] < 0, "counted by image a is the better one"
    alone = compare_balanced(pair, np.zeros(160, dtype=int))  # one class: the accuracy itself
    assert alone.loss.tolist() == compare_paired(pair).loss.tolist()
    assert alone.low[0, 1] == pytest.approx(compare_paired(pair).low[0, 1], abs=0.01)


def test_equal_networks_on_imbalanced_classes_are_rarely_told_apart():
    rng, recall = np.random.default_rng(0), np.array([0.95, 0.8, 0.7])[CLASSES]
    runs = [(rng.random((3, 160)) < recall).astype(float) for _ in range(600)]
    assert np.mean([compare_balanced(run, CLASSES, draws=200).worse().any() for run in runs]) <= 0.06
