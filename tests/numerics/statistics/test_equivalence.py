"""Paired comparisons of several candidates: by hand for a small table, and simulated error rates of the verdicts."""

import numpy as np
import pytest

from microtome.numerics.statistics.equivalence import compare_paired


def test_the_interval_by_hand() -> None:
    # 100 images, the other right on 10 more: more = 10, fewer = 0; (10 + 1) / 102 - (10 / 102)**2 = 0.09823, se = 0.03103.
    correct = np.ones((2, 100))
    correct[0, :10] = 0
    found = compare_paired(correct)
    assert found.critical == pytest.approx(1.96, abs=0.1)  # one pair only
    assert found.loss[0, 1] == pytest.approx(0.1)
    error = np.sqrt((11 / 102 - (10 / 102) ** 2) / 102)
    assert found.low[0, 1] == pytest.approx(10 / 102 - found.critical * error)
    assert found.worse().tolist() == [True, False]
    assert found.within(0.01).tolist() == [False, True]


def test_agreement_on_few_images_is_not_equality() -> None:
    few, many = (compare_paired(np.ones((2, count))) for count in (20, 2000))
    assert few.high[0, 1] > 0.05
    assert not few.within(0.01).any()
    assert many.within(0.01).all()
    assert few.images_to_decide(0, 1, 0.01) > 20


@pytest.mark.parametrize("count", [5, 10])
def test_equal_candidates_are_rarely_separated(count: int) -> None:
    """200 images, all right with probability 0.85 independently: some pair is separated in at most 6% of 600 runs."""
    rng = np.random.default_rng(count)
    wrong = [compare_paired((rng.random((count, 200)) < 0.85).astype(float), draws=400).worse().any() for _ in range(600)]
    assert np.mean(wrong) <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_a_much_worse_candidate_is_not_called_as_good_on_50_images() -> None:
    rng = np.random.default_rng(0)
    runs = [compare_paired(np.stack([rng.random(50) < 0.9, rng.random(50) < 0.8]).astype(float), draws=400) for _ in range(400)]
    assert np.mean([run.within(0.01)[1] for run in runs]) <= 0.05


def test_a_true_loss_within_the_margin_is_shown_with_enough_images() -> None:
    rng = np.random.default_rng(1)
    base = rng.random(20000) < 0.9
    other = base ^ (rng.random(20000) < 0.002)
    found = compare_paired(np.stack([base, other]).astype(float))
    assert found.within(0.01).all()


CLASSES = np.repeat([0, 1, 2], [120, 20, 20])


def test_balanced_accuracy_of_a_pair_by_hand():
    """a is right on all of class 0 and half of the others, b on half of class 0 and all others: 2/3 and 5/6, the mean is (4/3, 1)/2."""
    half = np.arange(160) % 2 == 0
    pair = np.stack([np.where(CLASSES == 0, True, half), np.where(CLASSES == 0, half, True)]).astype(float)
    found = compare_paired(pair, classes=CLASSES)
    assert found.accuracy.tolist() == pytest.approx([2 / 3, 5 / 6])
    assert found.loss[0, 1] == pytest.approx(1 / 6)
    assert found.low[0, 1] > 0
    assert compare_paired(pair).loss[0, 1] < 0, "counted by image a is the better one"
    one = compare_paired(pair, classes=np.zeros(160, dtype=int))
    assert np.array_equal(one.low, compare_paired(pair).low)


def test_equal_networks_on_imbalanced_classes_are_rarely_told_apart():
    rng, recall = np.random.default_rng(0), np.array([0.95, 0.8, 0.7])[CLASSES]
    runs = [(rng.random((3, 160)) < recall).astype(float) for _ in range(600)]
    assert np.mean([compare_paired(run, draws=200, classes=CLASSES).worse().any() for run in runs]) <= 0.06
