"""Compare: who is chosen, by what rule, and when no choice is made. Findings are made by hand, so every answer is known."""

from pathlib import Path

import numpy as np
import pytest

from microtome import testing
from microtome.analyses.compare.compare import Compare
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array

COUNT = 400


def origin(name: str, trained: bool | None = True, images: str = "d") -> dict[str, object]:
    specimen = {"name": name, "trained": trained, "family": "deeper", "weights": "w"}
    return {"specimen": specimen, "images": {"digest": images, "count": COUNT}, "key": f"{name}-{images}"}


def accuracy(name: str, right: int, shift: int = 0, **said: object) -> Finding:
    correct = np.roll(np.arange(COUNT) < right, shift).astype(np.float64)
    told = {"measure": ["top-1"]}
    arrays = {"correct": array(correct, ("image",), "1")}
    for word, value in (
        ("overall", right / COUNT),
        ("overall_low", right / COUNT - 0.02),
        ("overall_high", right / COUNT + 0.02),
    ):
        arrays[word] = array([value], ("measure",), "share", told)
    return Finding(analysis="accuracy", arrays=arrays, origin=origin(name, **said))  # type: ignore[arg-type]


def cost(name: str, milliseconds: float, **said: object) -> Finding:
    told = {
        "measure": [
            "parameters (1)",
            "multiply-adds (M per image)",
            "time of a batch (ms per image)",
            "live memory (MB per image)",
        ]
    }
    values = array([1e6 * milliseconds, 10.0, milliseconds, 1.0], ("measure",), "see measure", told)
    return Finding(analysis="cost", arrays={"cost": values}, origin=origin(name, **said))  # type: ignore[arg-type]


def test_the_clearly_best_is_chosen_though_dear() -> None:
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 300), cost("b", 1.0)])
    assert found.headline.startswith("Choose a: its own head is right most often (95.0 %)")
    assert found["rank"].values.tolist() == [1, 2]
    assert found["wins"].values.tolist() == [1.0, 0.0]
    assert found["front"].values.tolist() == [True, True]


def test_of_equals_the_cheapest() -> None:
    """380 and 378 right of 400, errors on different images: the paired interval of the difference includes 0."""
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 378, shift=50), cost("b", 1.0)])
    assert found.headline.startswith("Choose b: its own head is right on 94.5 %, not told apart from the best, a (95.0 %")
    assert "cheaper (1 against 9 ms per image)" in found.headline


def test_prices_within_a_quarter_do_not_decide() -> None:
    """Of equals at 1.0, 1.2 and 9 ms the most accurate of the first two is named, whichever the clock happened to favour."""
    for cheap, near in ((1.0, 1.2), (1.2, 1.0)):
        findings = [accuracy("a", 380), cost("a", near), accuracy("b", 378, shift=50), cost("b", cheap)]
        found = Compare().of([*findings, accuracy("c", 379, shift=90), cost("c", 9.0)])
        assert found.headline.startswith("Choose a: its own head is right most often")
        assert found["rank"].values.tolist() == [1, 2, 3]


def test_pairing_matters() -> None:
    """b is right wherever c is and on 12 images more: few, but never the other way round, so the two are told apart."""
    found = Compare().of([accuracy("b", 372), cost("b", 9.0), accuracy("c", 360), cost("c", 1.0)])
    assert found.headline.startswith("Choose b:")
    assert found["behind_low"].sel(specimen="c").item() > 0


def test_price_is_an_option() -> None:
    cheap_small = cost("a", 9.0)
    findings = [accuracy("a", 380), cheap_small, accuracy("b", 380), cost("b", 1.0)]
    assert Compare(price="operations").of(findings)["price"].values.tolist() == [10.0, 10.0]
    assert Compare(price="size").of(findings)["price"].values.tolist() == [9e6, 1e6]


def test_untrained_is_never_chosen() -> None:
    found = Compare().of([accuracy("a", 380, trained=False), cost("a", 1.0, trained=False)])
    assert found.headline.startswith("No recommendation: none of the specimens is trained")
    found = Compare().of(
        [accuracy("a", 380, trained=False), accuracy("b", 300), cost("b", 1.0), accuracy("c", 200), cost("c", 1.0)]
    )
    assert found.headline.startswith("Choose b")
    assert "Not judged: a" in found.headline


def test_no_evidence_no_choice() -> None:
    found = Compare().of([cost("a", 1.0), cost("b", 2.0)])
    assert found.headline.startswith("No recommendation: no accuracy and no probe above chance")
    assert np.isnan(found["rank"].values).all()


def test_answers_no_better_than_chance_are_no_evidence() -> None:
    def blind(name: str) -> Finding:
        finding = accuracy(name, 40)
        told = {"measure": ["top-1", "chance"]}
        arrays = dict(finding.arrays)
        for word, values in (("overall", [0.1, 0.1]), ("overall_low", [0.08, np.nan]), ("overall_high", [0.12, np.nan])):
            arrays[word] = array(values, ("measure",), "share", told)
        return Finding(analysis="accuracy", arrays=arrays, origin=finding.origin)

    found = Compare().of([blind("a"), cost("a", 1.0), blind("b"), cost("b", 2.0)])
    assert found.headline.startswith("No recommendation: no accuracy and no probe above chance")


def test_one_alone_is_not_a_choice() -> None:
    assert "a choice needs at least two" in Compare().of([accuracy("a", 380), cost("a", 1.0)]).headline


def test_other_images_are_refused() -> None:
    with pytest.raises(Unmeasurable, match="same images"):
        Compare().of([accuracy("a", 380), accuracy("b", 380, images="e")])
    with pytest.raises(Unmeasurable, match="at least one specimen"):
        Compare().of([])


def test_redundancy_says_where_to_cut() -> None:
    """Of the two blocks below their twins the one that changes least, wherever it stands; z changes less, but not than random weights."""
    blocks = {"block": ["y", "x", "z", "w"]}
    values = {"influence": [0.3, 0.1, 0.05, 0.4], "twin_influence": [0.5, 0.4, 0.04, 0.3], "rank": [3, 2, 1, 4]}
    below, within = "below all twins", "within the twins' range"
    arrays = {name: array(one, ("block",), "1", blocks) for name, one in values.items()}
    arrays["verdict"] = array([below, below, within, within], ("block",), "text", blocks)
    redundancy = Finding(analysis="redundancy", arrays=arrays, origin=origin("a"))
    found = Compare().of([accuracy("a", 380), cost("a", 1.0), redundancy, accuracy("b", 100), cost("b", 1.0)])
    assert "try x first (block influence 0.100, untrained twins 0.400); only removal proves it." in found.headline
    assert found["table"].sel(specimen="a", criterion="blocks below their twin (share)").item() == 0.5


def test_laws_of_findings(tmp_path: Path) -> None:
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 300), cost("b", 1.0)])
    testing.check_finding(found, tmp_path / "f")
