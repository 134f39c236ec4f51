"""Arrays from rows made by hand: accuracy, agreement, calibration, drift, sweeps and what is not known."""

import numpy as np
import pytest

from microtome.analyses.robustness.conditions import list_conditions
from microtome.analyses.robustness.summary import mean_over, read_views, view_arrays
from microtome.tally import Rows

CONDITIONS = list_conditions(["fog"], [1, 5], ["brightness"])
ANSWERS = np.array([[0, 0, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [2, 0, 0, 2, 2, 2, 2], [-1, 0, 0, 0, 0, 0, 0]])


def rows() -> Rows:
    held = Rows()
    features = np.array([[0.0], [1.0], [2.0], [3.0]])
    moved = np.arange(6)[None, :, None] * np.ones((4, 1, 1))
    held.add(np.arange(4), {"answer": ANSWERS, "sure": np.full((4, 7), 0.75), "moved": moved, "clean/a": features})
    return held


def test_views_by_hand() -> None:
    views = read_views(rows(), ["a"], np.array([0, 1, 1, -1]))
    assert views.right[:3].tolist() == [[1, 1, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
    assert np.isnan(views.right[3]).all() and np.isnan(views.same[3]).all()
    assert views.same[2].tolist() == [1, 0, 0, 1, 1, 1, 1]
    assert views.drift[:, 0] == pytest.approx(np.arange(6) / (10 / 6))  # the mean distance of six pairs


def test_arrays_by_hand() -> None:
    found = view_arrays(read_views(rows(), ["a"], np.array([0, 1, 1, -1])), None, CONDITIONS, ["a"])
    assert found["accuracy"].values[0] == pytest.approx([2 / 3, 1 / 3])
    assert found["agreement"].values[0] == pytest.approx([2 / 3, 1 / 3])
    assert found["accuracy/brightness"].amount.values.tolist() == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert found["accuracy/brightness"].values == pytest.approx([2 / 3, 1 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert found["calibration"].values[0] == pytest.approx([0.75 - 2 / 3, 0.75 - 1 / 3])
    assert found["drift"].item() == pytest.approx(0.5 * 0.6)
    assert np.isnan(found["twin_drift"].values).all() and np.isnan(found["corruption_error"].values).all()


def test_nothing_known_and_nothing_corrupted() -> None:
    sweeps = list_conditions([], [1], ["brightness"])
    held = Rows()
    held.add(np.arange(2), {"answer": np.full((2, 5), -1), "sure": np.full((2, 5), np.nan), "moved": np.zeros((2, 4, 0))})
    found = view_arrays(read_views(held, [], None), None, sweeps, [])
    assert found["accuracy"].size == 0 and "drift" not in found and "corruption_error" not in found
    assert np.isnan(found["agreement/brightness"].values).all()


def test_the_mean_is_over_images_first() -> None:
    interval = mean_over(np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, 1.0]]))
    assert interval.value == 0.75 and 0 <= interval.low < 0.75 < interval.high <= 1
    assert np.isnan(mean_over(np.full((2, 1), np.nan)).value) and np.isnan(mean_over(np.zeros((3, 0))).value)
