"""Sentences on objects: which of them are said, from a finding and its alterations."""

from dataclasses import replace

import numpy as np
import pytest

import microtome as mt
from microtome.analyses.objects import Objects
from microtome.analyses.objects.wording import object_caveats, object_headline, object_key_numbers
from microtome.finding import array


@pytest.fixture(scope="module")
def finding() -> mt.Finding:
    return Objects()(mt.open("microtome:mini_resnet"), mt.Images.scenes(40, seed=3))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("above all twins", False), ("within the twins' range", True), ("below all twins", True), ("no verdict", False)],
)
def test_a_lift_that_random_weights_reach_is_no_merit(finding: mt.Finding, verdict: str, said: bool) -> None:
    text = array(np.array(verdict, dtype=object), (), "text")
    changed = replace(finding, arrays={**finding.arrays, "lift_against_twins": text})
    assert any(f"lift over all images is {verdict}" in caveat for caveat in object_caveats(changed)) == said


def test_the_headline_names_the_twins(finding: mt.Finding) -> None:
    lift = finding.key("localisation lift")
    assert lift.baseline_name == "untrained twins" and finding.facts["twins"] == 5
    assert object_headline(finding).endswith(f"untrained twins {lift.baseline_text}.")
    alone = replace(finding, origin={**finding.origin, "facts": {**finding.facts, "twins": 1}})
    assert object_key_numbers(alone)[0].baseline_name == "one untrained twin"
