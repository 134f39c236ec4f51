"""Compare: who is chosen, by what rule, and when no choice is made. Findings are made by hand, so every answer is known."""

from pathlib import Path

import numpy as np
import pytest

from microtome import testing
from microtome.analyses.compare.compare import Compare
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber

COUNT = 400


def origin(name: str, trained: bool | None = True, images: str = "d") -> dict[str, object]:
    specimen = {"name": name, "trained": trained, "family": "deeper", "weights": "w"}
    return {"specimen": specimen, "images": {"digest": images, "count": COUNT}, "key": f"{name}-{images}"}


def accuracy(name: str, right: int, shift: int = 0, chance: float = 0.1, **said: object) -> Finding:
    correct = np.roll(np.arange(COUNT) < right, shift).astype(np.float64)
    value = right / COUNT
    number = KeyNumber(
        name="top-1 accuracy",
        value=value,
        unit="fraction",
        low=value - 0.02,
        high=value + 0.02,
        baseline=chance,
        better="higher",
    )
    arrays = {"correct": array(correct, ("image",), "1")}
    return Finding(analysis="accuracy", arrays=arrays, key_numbers=(number,), origin=origin(name, **said))  # type: ignore[arg-type]


def cost(name: str, milliseconds: float, **said: object) -> Finding:
    numbers = (
        KeyNumber(name="parameters", value=1e6 * milliseconds),
        KeyNumber(name="multiply-adds", value=1e7, unit="per image"),
        KeyNumber(name="latency per image in a batch", value=milliseconds, unit="ms"),
    )
    arrays = {"runs": array([1.0], ("rank",), "ms")}
    return Finding(analysis="cost", arrays=arrays, key_numbers=numbers, origin=origin(name, **said))  # type: ignore[arg-type]


def test_the_clearly_best_is_chosen_though_dear() -> None:
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 300), cost("b", 1.0)])
    assert found.headline == "Choose a: 95.0% on 400 images, significantly more accurate than every cheaper network."
    assert found["rank"].values.tolist() == [1, 2]
    assert found["wins"].values.tolist() == [1.0, 0.0]
    assert found["front"].values.tolist() == [True, True]
    assert found.key("accuracy of the choice").value == 0.95


def test_not_significant_is_not_equal() -> None:
    """380 and 378 right of 400, errors on different images: 0.5 points apart, and the interval reaches far beyond the margin of 1."""
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 378, shift=50), cost("b", 1.0)])
    assert found.facts["choice"] == "a"
    assert found.headline.startswith("Not enough evidence between a (95.0% on 400 images) and cheaper b: label about ")
    assert found.facts["choice"] == "a" and not found.facts["settled"]
    assert found["behind_high"].sel(specimen="b").item() > 0.01


def test_a_cheaper_one_within_a_margin_that_the_interval_shows_is_recommended() -> None:
    findings = [accuracy("a", 380), cost("a", 9.0), accuracy("b", 378, shift=50), cost("b", 1.0)]
    found = Compare(margin=0.1).of(findings)
    assert found.facts["choice"] == "b"
    high = found["behind_high"].sel(specimen="b").item()
    assert 0.005 < high <= 0.1
    assert f"at most {high:.1%} less accurate than a" in found.headline


def test_costs_within_a_quarter_do_not_decide() -> None:
    """At 1.0 and 1.2 ms the more accurate of the two is named, whichever the clock happened to favour."""
    for cheap, near in ((1.0, 1.2), (1.2, 1.0)):
        findings = [accuracy("a", 380), cost("a", near), accuracy("b", 378, shift=50), cost("b", cheap)]
        found = Compare(margin=0.1).of([*findings, accuracy("c", 379, shift=90), cost("c", 9.0)])
        assert found.facts["choice"] == "a"
        assert found["rank"].sel(specimen="a").item() == 1


def test_of_equally_accurate_networks_the_cheaper_is_named_in_any_order() -> None:
    pair = [[accuracy("a", 380), cost("a", 9.0)], [accuracy("b", 380), cost("b", 1.0)]]
    for first, second in (pair, pair[::-1]):
        found = Compare().of([*first, *second])
        assert found.facts["choice"] == "b"
        assert found["rank"].sel(specimen="b").item() == 1


def test_pairing_matters() -> None:
    """b is right wherever c is and on 20 images more: few, but never the other way round, so c is significantly worse."""
    found = Compare().of([accuracy("b", 380), cost("b", 9.0), accuracy("c", 360), cost("c", 1.0)])
    assert found.facts["choice"] == "b"
    assert found["behind_low"].sel(specimen="c").item() > 0
    assert "significantly" in found.headline


def by_class(name: str, recalls: tuple[float, float, float]) -> Finding:
    """340, 30 and 30 images of three classes."""
    counts = (340, 30, 30)
    labels = np.repeat([0, 1, 2], counts)
    correct = np.concatenate([np.arange(n) < round(r * n) for n, r in zip(counts, recalls, strict=True)]).astype(np.float64)
    plain, fair = float(correct.mean()), float(np.mean(recalls))
    numbers = (
        KeyNumber(name="balanced accuracy", value=fair, unit="fraction", low=fair - 0.05, high=fair + 0.05, baseline=1 / 3),
        KeyNumber(name="top-1 accuracy", value=plain, unit="fraction", low=plain - 0.02, high=plain + 0.02, baseline=0.85),
    )
    arrays = {"correct": array(correct, ("image",), "1"), "label": array(labels, ("image",), "class number")}
    return Finding(analysis="accuracy", arrays=arrays, key_numbers=numbers, origin=origin(name))


def test_imbalanced_classes_are_compared_by_balanced_accuracy() -> None:
    """a is right on more images, b on more of the rare classes: 96.6% against 90% of images, 80% against 90% by class."""
    found = Compare().of([by_class("a", (1.0, 0.7, 0.7)), cost("a", 1.0), by_class("b", (0.9, 0.9, 0.9)), cost("b", 9.0)])
    assert found["score"].values.tolist() == pytest.approx([0.8, 0.9])
    assert found.headline == "Choose b: balanced 90.0% on 400 images, significantly more accurate than every cheaper network."
    assert "the largest class has 11.3 times the images of the smallest" in found.caveats[0]
    assert found.caveats[1] == "The benchmark of docs/choice.md did not measure how well the own head chooses."
    assert found.key("accuracy of the choice").low == pytest.approx(0.85)


def test_latencies_of_different_sessions_do_not_decide() -> None:
    found = Compare(margin=0.1).of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 378, shift=50), cost("b", 1.0)])
    assert "fewer parameters" in found.headline
    assert any("not measured in turn" in line for line in found.caveats)


def test_price_is_an_option() -> None:
    cheap_small = cost("a", 9.0)
    findings = [accuracy("a", 380), cheap_small, accuracy("b", 380), cost("b", 1.0)]
    assert Compare(price="operations").of(findings)["price"].values.tolist() == [1e7, 1e7]
    assert Compare(price="size").of(findings)["price"].values.tolist() == [9e6, 1e6]


def test_untrained_is_never_chosen() -> None:
    found = Compare().of([accuracy("a", 380, trained=False), cost("a", 1.0, trained=False)])
    assert found.headline == "No recommendation: none of these networks is trained."
    found = Compare().of(
        [accuracy("a", 380, trained=False), accuracy("b", 300), cost("b", 1.0), accuracy("c", 200), cost("c", 1.0)]
    )
    assert found.facts["choice"] == "b"
    assert found.facts["not judged"] == ["a"]


def test_no_evidence_no_choice() -> None:
    found = Compare().of([cost("a", 1.0), cost("b", 2.0)])
    assert found.headline.startswith("No recommendation: no network has an accuracy or a probe above chance")
    assert np.isnan(found["rank"].values).all()


def test_answers_no_better_than_chance_are_no_evidence() -> None:
    blind = [accuracy(name, 40, chance=0.1) for name in ("a", "b")]
    found = Compare().of([*blind, cost("a", 1.0), cost("b", 2.0)])
    assert found.facts["choice"] == ""
    assert found.headline.startswith("No recommendation: no network has")


def test_one_alone_is_not_a_choice() -> None:
    assert "a choice needs two" in Compare().of([accuracy("a", 380), cost("a", 1.0)]).headline


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
    number = KeyNumber(name="blocks below all untrained twins", value=0.5, unit="fraction")
    redundancy = Finding(analysis="redundancy", arrays=arrays, key_numbers=(number,), origin=origin("a"))
    found = Compare().of([accuracy("a", 380), cost("a", 1.0), redundancy, accuracy("b", 100), cost("b", 1.0)])
    assert "Candidate for removal: x (block influence 0.100, untrained twins 0.400); only removal proves it." in found.caveats
    assert found["table"].sel(specimen="a", criterion="blocks below all untrained twins (fraction)").item() == 0.5


def test_laws_of_findings(tmp_path: Path) -> None:
    found = Compare().of([accuracy("a", 380), cost("a", 9.0), accuracy("b", 300), cost("b", 1.0)])
    testing.check_finding(found, tmp_path / "f")
