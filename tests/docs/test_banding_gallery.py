"""The gallery of weight banding shows what the mini networks give today."""

import re

import pytest
from docs_reading import DOCS

import microtome as mt
from microtome.analyses.banding.banding import Banding
from microtome.networks import NAMES
from microtome.numerics.weights.banding import BANDED_A

NUMBER = r"-?\d+\.\d+"
PAGE = (DOCS / "banding_gallery.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_its_sentences_are_measured_again(name: str) -> None:
    """To the last digit but one: other processors round otherwise."""
    found = Banding()(mt.open(f"microtome:{name}"))
    said = PAGE.split(f"## {name}\n\n> ")[1].split("\n")[0]
    words, numbers = (re.sub(NUMBER, "…", said), [float(one) for one in re.findall(NUMBER, said)])
    assert words == re.sub(NUMBER, "…", found.headline), "run python docs/banding_gallery.py"
    assert numbers == pytest.approx([float(one) for one in re.findall(NUMBER, found.headline)], abs=0.02)
    assert (abs(found["index_nmf"].values) < BANDED_A).all(), "the page says that no mini network is banded"


def test_its_pictures_are_there_and_small() -> None:
    for name in NAMES:
        picture = DOCS / "figures" / f"banding_{name}.png"
        assert f"](figures/{picture.name})" in PAGE
        assert 2_000 < picture.stat().st_size <= 120_000
