"""Calibration error: bins by hand, and an answer whose probability is right."""

import numpy as np
import pytest

from microtome.numerics.statistics.calibration import MIN_CALIBRATED, calibration_error, mean_calibration


def test_two_bins_by_hand() -> None:
    """Two images at 0.9, one right; two at 0.6, both right: gaps 0.4 and 0.4."""
    assert calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 0, 1, 1])) == pytest.approx(0.4)
    assert calibration_error(np.array([1.0, 1.0]), np.array([1, 1])) == 0.0
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0)))


def test_bins_are_closed_above() -> None:
    """0.2 is the upper end of the third of 15 bins; 0.21 lies in the fourth: two gaps of 0.2 and 0.79, not one."""
    assert calibration_error(np.array([0.2, 0.21]), np.array([0, 1])) == pytest.approx((0.2 + 0.79) / 2)


def test_a_calibrated_answer_has_almost_none() -> None:
    random = np.random.default_rng(0)
    sure = random.uniform(0.1, 1.0, 200_000)
    assert calibration_error(sure, random.random(200_000) < sure) < 0.005
    assert calibration_error(sure[:30], random.random(30) < sure[:30]) > 0.05  # of few images it is too large


def views(count: int, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (image, 3 views) and right answers that are `gap` less frequent than they say."""
    random = np.random.default_rng(seed)
    sure = random.uniform(0.3, 1.0, (count, 3))
    return sure, (random.random((count, 3)) < sure - gap).astype(float)


def test_the_mean_over_views_is_that_of_their_errors() -> None:
    sure, right = views(60, 0.1)
    each = [calibration_error(sure[:, view], right[:, view]) for view in range(3)]
    assert mean_calibration(sure, right).value == pytest.approx(np.mean(each))


def test_the_interval_of_a_calibrated_network_reaches_nothing_and_that_of_another_does_not() -> None:
    calibrated, confident = (mean_calibration(*views(400, gap, 1)) for gap in (0.0, 0.3))
    assert calibrated.low == 0.0 < calibrated.value < calibrated.high < 0.2
    assert 0.1 < confident.low < 0.3 < confident.high and mean_calibration(*views(400, 0.3, 1)) == confident


def test_missing_answers_are_left_out_view_by_view() -> None:
    sure, right = views(80, 0.2)
    right[::2, 1] = np.nan
    each = [calibration_error(sure[:, 0], right[:, 0]), calibration_error(sure[1::2, 1], right[1::2, 1])]
    assert mean_calibration(sure[:, :2], right[:, :2]).value == pytest.approx(np.mean(each))
    right[:, 2] = np.nan
    assert mean_calibration(sure, right).value == pytest.approx(np.mean(each))


def test_few_images_have_no_interval() -> None:
    few = mean_calibration(*views(MIN_CALIBRATED - 1, 0.2))
    assert np.isfinite(few.value) and np.isnan(few.low) and np.isfinite(mean_calibration(*views(MIN_CALIBRATED, 0.2)).low)
    assert np.isnan(mean_calibration(np.full((30, 2), np.nan), np.full((30, 2), np.nan)).value)
