"""Verdicts by hand: the interval against the null, on the side that the claim expects."""

import numpy as np
import pytest

from microtome.analyses.traits.claims import (
    CONTRADICTS,
    HYPOTHESES,
    IMAGE_CLAIMS,
    NOT_MEASURABLE,
    NOT_SIGNIFICANT,
    SUPPORTS,
    TWIN_CLAIMS,
    Judgement,
    leading_claim,
    verdict_of,
)
from microtome.numerics.statistics.intervals import Interval


def judged(expected: int, low: float, high: float, null: float = 0.0, reason: str = "") -> Judgement:
    return Judgement(
        "H1", "area", "wider", "deeper", expected, "points", "objects", Interval((low + high) / 2, low, high), 9, reason, null
    )


@pytest.mark.parametrize(
    ("expected", "low", "high", "null", "verdict"),
    [
        (1, 0.1, 0.5, 0.0, SUPPORTS),
        (1, -0.5, -0.1, 0.0, CONTRADICTS),
        (-1, -0.5, -0.1, 0.0, SUPPORTS),
        (-1, 0.1, 0.5, 0.0, CONTRADICTS),
        (1, -0.1, 0.5, 0.0, NOT_SIGNIFICANT),
        (1, 0.0, 0.5, 0.0, NOT_SIGNIFICANT),
        (1, 1.1, 2.0, 1.0, SUPPORTS),
        (-1, 0.5, 0.9, 1.0, SUPPORTS),
        (1, 0.5, 1.5, 1.0, NOT_SIGNIFICANT),
        (1, np.nan, np.nan, 0.0, NOT_MEASURABLE),
        (0, 0.1, 0.5, 0.0, NOT_MEASURABLE),
    ],
)
def test_the_interval_decides(expected: int, low: float, high: float, null: float, verdict: str) -> None:
    assert verdict_of(judged(expected, low, high, null)) == verdict


def test_a_reason_withholds_the_verdict() -> None:
    assert judged(1, 0.1, 0.5, reason="too few images").verdict == NOT_MEASURABLE


def test_the_first_measurable_claim_leads_whatever_it_says() -> None:
    claims = [judged(1, np.nan, np.nan), judged(1, -0.5, -0.1), judged(1, 0.1, 0.5)]
    assert leading_claim(claims) is claims[1]
    assert leading_claim(claims[:1]) is claims[0]


def test_every_hypothesis_of_images_and_twins_has_claims_with_distinct_statements() -> None:
    codes = {claim.hypothesis for claim in IMAGE_CLAIMS} | {claim.hypothesis for claim in TWIN_CLAIMS}
    assert codes == {"H1", "H2", "H3", "H5", "H6"} and codes < set(HYPOTHESES)
    statements = [
        Judgement(claim.hypothesis, claim.quantity, claim.first, claim.second, claim.expected, "", "").statement
        for claim in (*IMAGE_CLAIMS, *TWIN_CLAIMS)
    ]
    assert len(set(statements)) == len(statements)
    assert statements[0] == "H1: area of half the evidence, more in wider than in deeper"
    assert all(claim.measure in ("weights", "similarity", "redundancy") for claim in TWIN_CLAIMS)
