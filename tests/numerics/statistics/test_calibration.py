"""Calibration error: bins by hand, and an answer whose probability is right."""

import numpy as np
import pytest

from microtome.numerics.statistics.calibration import calibration_error


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
