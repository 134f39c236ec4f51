"""The verdict on banding by hand: chance is never a result."""

import math

import pytest

from microtome.analyses.banding.wording import verdict
from microtome.numerics.weights.banding import BANDED_A

STRONG, WEAK = BANDED_A * 1.5, BANDED_A * 0.5


@pytest.mark.parametrize(
    ("maps", "low", "high", "twin", "largest", "words"),
    [
        (STRONG, 0, 0, 0.0, 0.0, "horizontal bands"),
        (-STRONG, 0, 0, 0.0, 0.0, "vertical bands"),
        (BANDED_A, 0, 0, math.nan, 0.0, "horizontal bands"),
        (STRONG, 0, 0, -STRONG, 0.0, "no more bands than random weights give"),
        (WEAK, 0.01, 0.2, 0.0, WEAK / 2, "no bands but a horizontal tendency"),
        (-WEAK, -0.2, -0.01, 0.0, WEAK / 2, "no bands but a vertical tendency"),
        (WEAK, -0.01, 0.2, 0.0, WEAK / 2, "no bands"),
        (WEAK, 0.01, 0.2, 0.0, WEAK * 1.1, "no bands"),
        (math.nan, 0, 0, 0.0, 0.0, "no index, since the maps do not vary"),
    ],
)
def test_verdict(maps: float, low: float, high: float, twin: float, largest: float, words: str) -> None:
    assert verdict(maps, low, high, twin, largest) == words
