"""Verdicts by hand: where an interval lies beside, on and across the bounds of each rule."""

import math

import pytest

from microtome.replicate.rules import CLAIM_VERDICTS, FAILS, HOLDS, INCONCLUSIVE, RULES, Above, Below, Within

NAN = math.nan


@pytest.mark.parametrize(
    ("rule", "low", "high", "verdict"),
    [
        (Above(0.0), 0.1, 0.3, HOLDS),
        (Above(0.0), 0.0, 0.3, INCONCLUSIVE),  # the bound itself is not above
        (Above(0.0), -0.1, 0.3, INCONCLUSIVE),
        (Above(0.0), -0.3, 0.0, FAILS),
        (Above(0.0), NAN, NAN, INCONCLUSIVE),
        (Above(0.0), 0.1, NAN, INCONCLUSIVE),
        (Above(0.99), 1.0, 1.0, HOLDS),
        (Below(0.5), 0.1, 0.4, HOLDS),
        (Below(0.5), 0.4, 0.5, INCONCLUSIVE),
        (Below(0.5), 0.5, 0.9, FAILS),
        (Below(1.0), math.inf, math.inf, FAILS),
        (Within(0, 0), 0.0, 0.0, HOLDS),
        (Within(0, 0), 1.0, 1.0, FAILS),
        (Within(-1, 1), -1.0, 1.0, HOLDS),
        (Within(-1, 1), 0.5, 1.5, INCONCLUSIVE),
        (Within(-1, 1), -9.0, 9.0, INCONCLUSIVE),  # no evidence either way, although both ends lie outside
        (Within(-1, 1), 1.1, 9.0, FAILS),
        (Within(-1, 1), -9.0, -1.1, FAILS),
    ],
)
def test_verdicts(rule, low, high, verdict) -> None:
    assert rule.verdict(low, high) == verdict


def test_rules_say_what_they_ask_for_in_their_unit() -> None:
    assert Above(0.02, "fraction").describe() == "holds if the interval lies above 2.0%"
    assert Below(-10, "px").describe() == "holds if the interval lies below -10 px"
    assert Within(0, 0, "px").describe() == "holds if the effect is exactly 0 px"
    assert Within(0.85, 1.15).describe() == "holds if the interval lies from 0.850 to 1.15"
    assert Above(0.1, "px").json() == {"rule": "Above", "bound": 0.1, "unit": "px"}
    assert set(RULES) == {"Above", "Below", "Within"} and len(CLAIM_VERDICTS) == 4
