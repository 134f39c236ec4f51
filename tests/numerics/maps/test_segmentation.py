"""Classes of pixels: confusion counts and overlaps by hand, and intervals over images against a slow obvious twin."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from microtome.numerics.maps.segmentation import (
    MIN_SCENES,
    bootstrap_statistic,
    class_iou,
    confusion_matrices,
    mean_iou,
    pixel_accuracy,
)

#          wanted              given
#          0 0 1               0 1 1
#          2 2 1               2 0 1
WANTED = np.array([[[0, 0, 1], [2, 2, 1]]])
GIVEN = np.array([[[0, 1, 1], [2, 0, 1]]])


def test_six_pixels_by_hand() -> None:
    counts = confusion_matrices(WANTED, GIVEN, 4)
    assert_array_equal(counts[0], [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    # class 0: 1 in both, 2 wanted + 2 given - 1 = 3 in either; class 1: 2 of 2 + 3 - 2 = 3; class 2: 1 of 2 + 1 - 1 = 2
    assert_allclose(class_iou(counts[0]), [1 / 3, 2 / 3, 1 / 2, np.nan])
    assert float(mean_iou(counts[0])) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)  # the class that is nowhere is left out
    assert float(pixel_accuracy(counts[0])) == pytest.approx(4 / 6)


def test_pixels_without_a_class_are_left_out() -> None:
    wanted = WANTED.copy()
    wanted[0, 0, 1] = wanted[0, 1, 1] = -1  # the two that were wrong
    counts = confusion_matrices(wanted, GIVEN, 3)
    assert counts.sum() == 4
    assert float(pixel_accuracy(counts[0])) == float(mean_iou(counts[0])) == 1.0


def test_overlap_is_of_all_images_together_not_a_mean_of_images() -> None:
    wanted, given = np.zeros((2, 4, 4), int), np.zeros((2, 4, 4), int)
    wanted[0], given[0] = 1, 1  # 16 right pixels of class 1 in one image
    wanted[1, 0, 0] = 1  # one missed in the other
    counts = confusion_matrices(wanted, given, 2)
    assert_allclose(class_iou(counts.sum(0)), [15 / 16, 16 / 17])
    assert_allclose(class_iou(counts), [[np.nan, 1.0], [15 / 16, 0.0]])


def test_intervals_are_those_of_resampling_images_one_by_one() -> None:
    random = np.random.default_rng(3)
    wanted = random.integers(0, 3, (MIN_SCENES, 5, 5))
    given = np.where(random.random(wanted.shape) < 0.7, wanted, random.integers(0, 3, wanted.shape))
    counts = confusion_matrices(wanted, given, 3)
    found = bootstrap_statistic(counts, mean_iou, draws=50, seed=5)
    again = np.random.default_rng(5)  # the draws of `bootstrap_weights`
    slow = []
    for places in again.integers(0, MIN_SCENES, size=(50, MIN_SCENES)):
        whole = np.zeros((3, 3))
        for w, g in zip(wanted[places].ravel(), given[places].ravel(), strict=True):
            whole[w, g] += 1
        slow.append(np.mean([whole[c, c] / (whole[c].sum() + whole[:, c].sum() - whole[c, c]) for c in range(3)]))
    assert found.low == pytest.approx(np.quantile(slow, 0.025))
    assert found.high == pytest.approx(np.quantile(slow, 0.975))
    assert found.value == pytest.approx(float(mean_iou(counts.sum(0))))
    assert found.low < found.value < found.high
    few = bootstrap_statistic(counts[1:], mean_iou, draws=50)
    assert few.value == pytest.approx(float(mean_iou(counts[1:].sum(0)))) and np.isnan(few[1:]).all()
