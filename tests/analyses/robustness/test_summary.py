"""Arrays from rows made by hand: accuracy, agreement, calibration, drift, sweeps and what is not known."""

import numpy as np
import pytest

from microtome.analyses.robustness.conditions import list_conditions
from microtome.analyses.robustness.summary import mean_drift, mean_gap, mean_over, read_views, view_arrays
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


def test_the_interval_of_drift_is_about_the_drift_that_the_arrays_hold() -> None:
    random = np.random.default_rng(0)
    held = Rows()
    features, moved = random.normal(size=(40, 5)).astype(np.float32), random.lognormal(size=(40, 6, 1))
    answers = np.zeros((40, 7), dtype=int)
    held.add(np.arange(40), {"answer": answers, "sure": np.full((40, 7), 0.75), "moved": moved, "clean/a": features})
    interval = mean_drift(held, ["a"], [0, 1])
    views = read_views(held, ["a"], None)
    assert interval.value == pytest.approx(views.drift[:2, 0].mean())
    assert 0 < interval.low < interval.value < interval.high
    assert np.isnan(mean_drift(held, [], [0]).value) and np.isnan(mean_drift(held, ["a"], []).value)


def test_the_interval_of_the_calibration_error_is_of_the_corruptions_alone() -> None:
    """Four images have no interval; the value is that of the table: gaps 0.75 - 2/3 and 0.75 - 1/3."""
    interval = mean_gap(read_views(rows(), ["a"], np.array([0, 1, 1, -1])), [0, 1])
    assert interval.value == pytest.approx(0.75 - 0.5) and np.isnan(interval.low)
    assert np.isnan(mean_gap(read_views(rows(), ["a"], None), []).value)
