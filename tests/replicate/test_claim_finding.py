"""The finding of a result holds its effect and protocol, and the page of a run shows the claim."""

from dataclasses import replace

import pytest

from claim_file import RESULT
from microtome.replicate.cards import claim_card
from microtome.replicate.claim_finding import claim_finding, write_claim_page

CARD = claim_card("resnet_fields")


def test_effect_protocol_and_the_committed_result() -> None:
    finding = claim_finding(CARD, replace(RESULT, low=0.2, high=0.3), replace(RESULT, verdict="holds"))
    (number,) = finding.key_numbers
    assert (number.value, number.low, number.high, number.unit) == (0.25, 0.2, 0.3, "fraction")
    assert finding.headline.startswith(
        "Inconclusive here: effect 25.0% [20.0%, 30.0%]; the claim holds if the effect is exactly 0 px"
    )
    protocol = dict(zip(finding["protocol"]["criterion"].values, finding["protocol"].values, strict=True))
    assert protocol["hypothesis"] == CARD.hypothesis and protocol["mini"] == CARD.mini
    numbers = dict(zip(finding["number"]["measure"].values, finding["number"].values, strict=True))
    assert numbers["a"] == "1" and numbers["committed result"] == "25.0%: holds (2026-11-30, mini)"
    assert claim_finding(CARD, RESULT, None).key_numbers[0].interval_unknown


@pytest.mark.parametrize("committed", [None, RESULT])
def test_the_page_shows_the_claim(tmp_path, committed) -> None:
    page = write_claim_page(CARD, RESULT, committed, tmp_path).read_text()
    assert CARD.sentence in page and "Protocol, fixed before the run" in page
