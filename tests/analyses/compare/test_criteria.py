"""Columns and evidence of a comparison, from findings made by hand."""

import numpy as np
import pytest

from key_number_names import NAMES, SOMETIMES
from microtome.analyses.compare.criteria import (
    CRITERIA,
    Evidence,
    accuracy_bounds,
    attention_arrays,
    criterion_columns,
    find_number,
    gather_evidence,
    size_arrays,
)
from microtome.analysis import group_by_specimen
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber


def made(name: str, analysis: str, arrays=None, **numbers: tuple[float, str]) -> Finding:
    given = tuple(KeyNumber(name=key.replace("_", " "), value=value, unit=unit) for key, (value, unit) in numbers.items())
    return Finding(
        analysis=analysis, arrays=arrays or {"runs": array([1.0], ("rank",), "ms")}, key_numbers=given,
        origin={"specimen": {"name": name}},
    )  # fmt: skip


def own(name: str, right: list[float], low: float, chance: float = 0.25) -> Finding:
    number = KeyNumber(name="top-1 accuracy", value=np.mean(right), unit="fraction", low=low, high=low + 0.2, baseline=chance)
    arrays = {"correct": array(right, ("image",), "1")}
    return Finding(analysis="accuracy", arrays=arrays, key_numbers=(number,), origin={"specimen": {"name": name}})


def probe(name: str, layers: list[list[float]], low: float) -> Finding:
    number = KeyNumber(name="best probe accuracy", value=0.7, unit="fraction", low=low)
    arrays = {
        "correct": array(np.array(layers), ("layer", "image"), "1"),
        "accuracy": array(np.mean(layers, 1), ("layer",), "fraction"),
        "chance": array([0.3, 0.3], ("layer",), "fraction"),
    }
    return Finding(analysis="probe", arrays=arrays, key_numbers=(number,), origin={"specimen": {"name": name}})


def test_a_key_number_is_known_by_its_whole_name() -> None:
    cost = made("a", "cost", latency_per_image_in_a_batch=(3.0, "ms"), latency=(9.0, "ms"))
    number = find_number(cost, "latency per image in a batch")
    assert number is not None and number.value == 3.0
    assert find_number(cost, "latency per image") is None and find_number(None, "latency") is None


def test_columns_in_their_order_with_units_and_gaps() -> None:
    found = group_by_specimen([
        made("a", "cost", multiply_adds=(1.0, "per image"), parameters=(5.0, "1")), made("b", "cost", parameters=(7.0, "1")),
        made("b", "redundancy", blocks_below_all_untrained_twins=(2.0, "blocks")),
    ], "compare")  # fmt: skip
    columns = criterion_columns(found)
    assert list(columns) == ["parameters (1)", "blocks below all untrained twins (blocks)"]
    assert columns["parameters (1)"].tolist() == [5.0, 7.0]
    assert np.isnan(columns["blocks below all untrained twins (blocks)"]).tolist() == [True, False]
    assert np.isnan(criterion_columns(group_by_specimen([made("a", "cam")], "compare"))["parameters (1)"]).all()
    with pytest.raises(Unmeasurable, match="compare needs findings of at least one specimen. Measure first: mt.analyze"):
        group_by_specimen([], "compare")


def test_evidence_is_what_most_trained_networks_have_and_beats_chance() -> None:
    right, wrong = [1.0, 1, 1, 0], [0.0, 0, 0, 1]
    findings = [
        own("a", right, 0.5), own("b", right, 0.2), own("c", right, 0.5),  # b is no better than its most frequent class
        probe("a", [wrong, right], 0.5), probe("b", [right, wrong], 0.5), probe("c", [right, wrong], 0.3),
    ]  # fmt: skip
    byname = group_by_specimen(findings, "compare")
    evidence, answers = gather_evidence(byname, np.array([True, True, True]))
    assert (evidence.kind, evidence.known.tolist()) == ("own head", [True, False, True])
    assert answers[[0, 2]].tolist() == [right, right] and np.isnan(answers[1]).all()
    evidence, answers = gather_evidence(byname, np.array([True, True, False]))
    assert (evidence.kind, evidence.known.tolist()) == ("probe", [True, True, False])  # chance of the probe is 0.3
    assert answers[:2].tolist() == [right, right]  # the best layer's
    evidence, answers = gather_evidence(byname, np.zeros(3, bool))
    assert (evidence.kind, answers.shape) == ("", (3, 0))
    assert accuracy_bounds(byname, Evidence("own head", np.ones(3, bool)), "high").tolist() == pytest.approx([0.7, 0.4, 0.7])
    assert np.isnan(accuracy_bounds(byname, Evidence("", np.zeros(3, bool)), "low")).all()


def test_bins_and_images_are_joined_only_where_they_agree() -> None:
    def objects(name: str, bins: list[float]) -> Finding:
        return made(name, "objects", {"lift_by_size": array([0.1, 0.2], ("size",), "fraction", {"size": bins})})

    def cam(name: str, side: int, shade: float) -> Finding:
        heat = array(np.full((2, 3, side, side), shade), ("image", "layer", "row", "col"), "1")
        return made(name, "cam", {"heat": heat, "image": array(np.full((2, 8, 8, 3), 7), ("image", "row", "col", "rgb"), "1")})

    both = size_arrays(group_by_specimen([objects("a", [1.0, 4.0]), objects("b", [1.0, 4.0])], "compare"))
    assert list(both) == ["lift_by_size"] and both["lift_by_size"].sel(specimen="b", size=4.0).item() == 0.2
    assert size_arrays(group_by_specimen([objects("a", [1.0, 4.0]), objects("b", [1.0, 9.0])], "compare")) == {}
    maps = attention_arrays(group_by_specimen([cam("a", 4, 0.1), cam("b", 4, 0.9)], "compare"))
    assert maps["heat"].dims == ("image", "specimen", "row", "col") and maps["heat"][0, 1, 0, 0].item() == 0.9
    assert attention_arrays(group_by_specimen([cam("a", 4, 0.1), cam("b", 5, 0.9)], "compare")) == {}
    assert attention_arrays(group_by_specimen([cam("a", 4, 0.1)], "compare")) == {}


def test_every_criterion_is_a_key_number_that_its_analysis_declares() -> None:
    strange = [(analysis, name) for analysis, name in CRITERIA if name not in {*NAMES[analysis], *SOMETIMES.get(analysis, {})}]
    assert strange == [] and len(set(CRITERIA)) == len(CRITERIA) > 10
