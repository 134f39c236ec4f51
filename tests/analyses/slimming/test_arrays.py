"""Rows by hand: losses, verdicts, correlations."""

import numpy as np
import pytest

from microtome.analyses.slimming.arrays import (
    PREDICTORS,
    VERDICTS,
    budget_verdict,
    candidate_arrays,
    loss_interval,
    predictor_arrays,
    study_arrays,
)
from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.savings import Savings
from microtome.numerics.statistics.intervals import Interval

FULL = np.arange(100) < 90
WORSE = np.arange(100) < 80
SAVINGS = [
    Savings(100, 1000.0, 50, Interval(1, 1, 1)),
    Savings(80, 700.0, 50, Interval(0.8, 0.7, 0.9)),
    Savings(50, 600.0, 40, Interval(0.5, 0.4, 0.6)),
]
CANDIDATES = [SmallerNetwork("block", "a", ("a",), from_end=2), SmallerNetwork("cut", "end at b", at="b", from_end=3)]


def test_losses_by_hand() -> None:
    found = loss_interval(WORSE, FULL)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < 0.1 < found.high < 0.2
    assert budget_verdict(found, 0.2) == VERDICTS[0]
    assert budget_verdict(found, 0.1) == VERDICTS[1]
    assert budget_verdict(found, 0.01) == VERDICTS[2]
    assert budget_verdict(Interval(0.1, np.nan, np.nan), 0.5) == VERDICTS[1]


def test_the_table() -> None:
    answers = {"a": {"none": WORSE, "norms": FULL}, "end at b": {"none": WORSE}}
    arrays = candidate_arrays(CANDIDATES, answers, {"block": FULL, "cut": WORSE}, ("none", "norms"), SAVINGS, 0.01)  # type: ignore[arg-type]
    np.testing.assert_allclose(arrays["loss"].values, [[0.1, 0.0], [0.0, np.nan]], atol=1e-12)
    np.testing.assert_allclose(arrays["parameters_saved"].values, [0.2, 0.5])
    np.testing.assert_allclose(arrays["operations_saved"].values, [0.3, 0.4])
    assert arrays["verdict"].values[1, 1] == "not measured"
    assert arrays["plain_loss"].values.tolist() == arrays["loss"].values[:, 0].tolist()
    study = study_arrays(arrays, {"last block": ("b", "none"), "last but one block": ("a", "none")})
    assert study["study_block"].values.tolist() == ["b: cannot be removed", "a"]
    np.testing.assert_allclose(study["study_loss"].values, [np.nan, 0.1])


def test_correlations_over_single_blocks_only() -> None:
    blocks = [SmallerNetwork("block", str(place), (str(place),)) for place in range(8)]
    values = {name: np.arange(8.0) for name in PREDICTORS}
    arrays = predictor_arrays([*blocks, CANDIDATES[1]], np.array([*np.arange(8.0)[::-1], 5.0]), values)
    np.testing.assert_allclose(arrays["correlation"].values, -1)
    assert arrays["pairs"].values.tolist() == [8] * len(PREDICTORS)
    assert np.isnan(arrays["predictor"].values[8]).all()
