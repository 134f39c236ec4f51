"""Sentences on invariance: the twins' name, and where their numbers are not known."""

from dataclasses import replace

import numpy as np
import pytest

import microtome as mt
from microtome.analyses.invariance import Invariance
from microtome.analyses.invariance.wording import warp_caveats, warp_headline, warp_key_numbers
from microtome.scan import Pace


@pytest.fixture(scope="module")
def finding(net: mt.Specimen, pics: mt.Images) -> mt.Finding:
    return Invariance(at=("stem",), warps=("row_shift",), shifts=("2", "4"), count=4)(
        net, pics, Pace(batch=8, device="cpu"), twins=2
    )


def test_the_headline_names_the_twins(finding: mt.Finding) -> None:
    largest = finding.key("largest change")
    assert largest.baseline_name == "untrained twins"
    assert warp_headline(finding).endswith(f"of the distance between images (untrained twins {largest.baseline_text}).")
    alone = replace(finding, origin={**finding.origin, "facts": {**finding.facts, "twins": 1}})
    assert {number.baseline_name for number in warp_key_numbers(alone)} == {"one untrained twin", "unwarped"}


def test_what_one_twin_predicts_is_said_where_it_is_known(finding: mt.Finding) -> None:
    answers = finding["answers"].copy(data=np.array([3.0, 2.0]))
    known = replace(finding, arrays={**finding.arrays, "answers": answers})
    assert any("predicts 3 different classes, an untrained twin at most 2:" in line for line in warp_caveats(known))
    missing = replace(finding, arrays={**finding.arrays, "answers": answers.copy(data=np.array([3.0, np.nan]))})
    assert any("predicts 3 different classes: a network" in line for line in warp_caveats(missing))
