"""mCE: the reference against itself is 1, whatever the order of names; severities that lack give no number."""

import numpy as np
import pytest

from microtome.numerics.statistics.corruption_error import (
    REFERENCE_CLEAN,
    REFERENCE_ERRORS,
    corruption_errors,
    relative_corruption_errors,
)


def test_the_reference_has_an_error_of_one() -> None:
    errors = {name: np.full(5, value) for name, value in reversed(REFERENCE_ERRORS.items())}
    assert list(corruption_errors(errors).values()) == pytest.approx([1.0] * 15)
    assert list(relative_corruption_errors(errors, REFERENCE_CLEAN).values()) == pytest.approx([1.0] * 15)


def test_by_hand() -> None:
    errors = {"fog": np.array([0.1, 0.2, 0.3, 0.4, 0.5]), "saturate": np.ones(5)}
    assert corruption_errors(errors) == {"fog": pytest.approx(0.3 / 0.819324)}
    assert relative_corruption_errors(errors, 0.1) == {"fog": pytest.approx(0.2 / (0.819324 - 0.435))}


def test_four_severities_are_not_five() -> None:
    assert np.isnan(corruption_errors({"fog": np.ones(4)})["fog"])
    assert np.isnan(relative_corruption_errors({"fog": np.ones(4)}, 0.1)["fog"])


def test_the_table_is_that_of_the_paper() -> None:
    """Mean over the fifteen of AlexNet's errors, and the two ends."""
    assert len(REFERENCE_ERRORS) == 15
    assert max(REFERENCE_ERRORS, key=REFERENCE_ERRORS.__getitem__) == "impulse_noise"
    assert min(REFERENCE_ERRORS, key=REFERENCE_ERRORS.__getitem__) == "brightness"
    assert np.mean(list(REFERENCE_ERRORS.values())) == pytest.approx(0.788, abs=1e-3)
