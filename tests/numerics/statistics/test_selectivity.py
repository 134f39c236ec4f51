"""Agreement and sharing against counting every pair, and what chance gives on average."""

from itertools import combinations

import numpy as np
import pytest

from microtome.numerics.statistics.selectivity import chance_class_agreement, class_agreement, shared_image_rate


def pairs_that_agree(labels: list[int]) -> float:
    """By counting every pair."""
    pairs = list(combinations(labels, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def test_agreement_by_counting_pairs() -> None:
    labels = np.array([0, 0, 1, 1, 1, -1])
    images = np.array([[0, 2, 5], [1, 3, -1], [2, 4, -1], [2, -1, -1]])
    found = class_agreement(images, labels)
    assert found[0] == pytest.approx(pairs_that_agree([0, 0, 1]))  # image 2 counts once
    assert found[1] == 1.0
    assert np.isnan(found[2])  # one image without a label
    assert chance_class_agreement(labels) == pytest.approx(pairs_that_agree([0, 0, 1, 1, 1]))


def test_pictures_drawn_at_random_agree_by_chance() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 60)
    images = np.stack([rng.permutation(60)[:9] for _ in range(4000)], axis=1)
    spread = class_agreement(images, labels)
    assert spread.mean() == pytest.approx(chance_class_agreement(labels), abs=4 * spread.std() / 4000**0.5)
    assert shared_image_rate(images) == pytest.approx(1 / 60, rel=0.01)


def test_shared_by_counting_pairs() -> None:
    images = np.array([[0, 0, 7], [1, 2, -1], [1, 3, -1]])
    own = [[0, 1], [0, 2, 3], [7]]
    pairs = [(a, b) for one, other in combinations(own, 2) for a in one for b in other]
    assert shared_image_rate(images) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert shared_image_rate(np.array([[0, 0], [1, 1]])) == 0.5
    assert np.isnan(shared_image_rate(np.array([[0, -1]])))
