"""Before and after: the paired loss by hand, and its verdict."""

import numpy as np
import pytest

from microtome.export.comparison import compare_answers
from microtome.numerics.statistics.intervals import Interval

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def test_accuracy_and_loss_by_hand() -> None:
    before = np.arange(100) < 90
    after = np.arange(100) < 88
    compared = compare_answers(before, after, 0.01, UNKNOWN, {})
    assert [row.name for row in compared.rows] == ["accuracy"]
    row = compared.rows[0]
    assert row.before.startswith("90.0% [") and row.after.startswith("88.0% [") and row.change.startswith("-2.0")
    assert compared.loss.value == pytest.approx(0.02) and compared.loss.low < 0.02 < compared.loss.high
    assert compared.verdict == "undecided"
    assert compare_answers(before, after, 0.5, UNKNOWN, {}).verdict == "within the budget"
    assert compare_answers(before, ~before, 0.1, UNKNOWN, {}).verdict == "beyond the budget"


def test_a_gain_has_its_sign() -> None:
    before, after = np.arange(100) < 88, np.arange(100) < 90
    compared = compare_answers(before, after, 0.01, UNKNOWN, {})
    assert compared.rows[0].change.startswith("+2.0") and compared.json()["loss"][0] == pytest.approx(-0.02)
