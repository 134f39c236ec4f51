"""What is said: the headline of the study's question in each of its cases."""

import pytest

import microtome as mt
from microtome.analyses.slimming import Slimming, wording
from microtome.finding import Finding
from microtome.testing import check_finding

OPTIONS = {"repeats": 3, "cuts": False, "search": "none"}


@pytest.fixture(scope="module")
def inception() -> Finding:
    return Slimming(**OPTIONS)(mt.open("microtome:mini_inception"), mt.Images.scenes(100))  # type: ignore[arg-type]


def test_the_last_but_one_against_the_cheapest(inception: Finding, tmp_path) -> None:
    check_finding(inception, tmp_path)
    assert wording.best_block(inception) in inception.facts["blocks"]
    assert wording.chosen_candidate(inception) == ("", "none")
    best = inception.key(wording.SMALLEST)
    assert best.at in inception.headline or "last but one block, " in inception.headline
    assert inception.key(wording.PENULTIMATE).at == "Mixed_7b"
    assert best.value <= inception.key(wording.PENULTIMATE).value


def test_where_the_last_but_one_cannot_be_removed() -> None:
    found = Slimming(**OPTIONS)(mt.open("timm:resnet10t", weights=None, recipe={"size": 64}), mt.Images.scenes(60))  # type: ignore[arg-type]
    assert (
        found.headline == "None of the 4 blocks can be removed with nothing in its place."
        or "cannot be removed" in found.headline
    )
    assert any("Not removed with nothing in its place" in caveat for caveat in found.caveats)
