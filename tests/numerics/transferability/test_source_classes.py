"""LEEP and NCE: the definitions as loops, and cases by hand."""

import numpy as np
import pytest

from microtome.numerics.transferability.source_classes import leep, nce


def drawn(images: int = 40, sources: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.dirichlet(np.ones(sources), images), np.arange(images) % 3


def test_leep_as_loops() -> None:
    probabilities, labels = drawn()
    joint = np.zeros((3, 6))
    for row, label in zip(probabilities, labels, strict=True):
        joint[label] += row / 40
    expected = 0.0
    for row, label in zip(probabilities, labels, strict=True):
        expected += np.log(sum(joint[label, source] / joint[:, source].sum() * row[source] for source in range(6))) / 40
    assert leep(probabilities, labels) == pytest.approx(expected, abs=1e-12)


def test_nce_as_loops() -> None:
    probabilities, labels = drawn()
    answers = probabilities.argmax(1)
    expected = 0.0
    for label, answer in zip(labels, answers, strict=True):
        expected += np.log(((labels == label) & (answers == answer)).sum() / (answers == answer).sum()) / 40
    assert nce(probabilities, labels) == pytest.approx(expected, abs=1e-12)


def test_a_source_that_knows_all_and_one_that_knows_nothing() -> None:
    labels = np.arange(12) % 3
    assert leep(np.eye(3)[labels], labels) == nce(np.eye(3)[labels], labels) == 0.0
    blind = np.full((12, 5), 0.2)
    assert leep(blind, labels) == pytest.approx(-np.log(3))
    assert nce(blind, labels) == pytest.approx(-np.log(3))
