"""Traits: planted truths of every hypothesis give the right verdicts, and what is missing is said in a sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import planted_study as planted
from microtome import testing
from microtome.analyses.traits.claims import HYPOTHESES, NOT_MEASURABLE
from microtome.analyses.traits.traits import Traits
from microtome.errors import BadOption, Unmeasurable
from microtome.finding import Finding
from microtome.specimen.families import FAMILIES

NAMES = tuple(planted.FAMILY_OF)


def verdicts(finding: Finding) -> dict[str, str]:
    codes = [str(name).split(":")[0] for name in finding["hypothesis_verdict"].coords["criterion"].values]
    return dict(zip(codes, map(str, finding["hypothesis_verdict"].values), strict=True))


def as_claimed(sign: float = 1.0) -> list[Finding]:
    """Six networks of which everything that the study claims is true (sign 1), or the opposite (sign -1)."""
    findings: list[Finding] = []
    area, clutter = planted.images_of()
    trend = np.log2(area / 0.08)
    for name, family in planted.FAMILY_OF.items():
        random = np.random.default_rng([7, *name.encode()])
        tilt = {"deeper": -0.03, "wider": 0.03, "attention": 0.0}[family] * sign
        base = -0.3 * sign if family == "attention" else 0.0
        keeps = 1 - (0.5 if (family == "attention") == (sign < 0) else 0.05) * clutter
        answers = 1 - 0.6 * ((area < 0.04) & ((family == "attention") == (sign > 0)))
        findings += [
            planted.objects(name, random, coverage=0.25 + (0.05 * sign if family == "wider" else 0.0),
                            lift=(0.4 + base * (area < 0.04) + tilt * trend) * keeps, correct=0.95 * keeps * answers),
            planted.weights(name, random, factor=3.0 ** (sign if family == "wider" else -sign), spread=0.05),
            planted.similarity(name, random, change=0.25 * (sign if family == "wider" else -sign)),
            planted.redundancy(name, random, factor=3.0 ** (sign if family == "wider" else -sign)),
            planted.probe(name, 0.4, 0.9, random), planted.cost(name, 1e6), planted.cam(name),
        ]  # fmt: skip
    return findings


def test_everything_that_the_study_claims_is_supported_where_it_is_true(tmp_path: Path) -> None:
    found = Traits().of(as_claimed())
    assert verdicts(found) == dict.fromkeys(("H1", "H2", "H3", "H5", "H6"), "supports") | dict.fromkeys(
        ("H4", "H7", "H8"), NOT_MEASURABLE
    )
    assert found.headline == (
        "Eight hypotheses on 6 models, not on families: 5 supported, 0 contradicted, 0 not significant, 3 not measurable."
    )
    assert found["contradicting"].values.sum() == 0
    testing.check_finding(found, tmp_path)


def test_everything_that_the_study_claims_is_contradicted_where_the_opposite_is_true() -> None:
    finding = Traits().of(as_claimed(-1.0))
    assert verdicts(finding) == dict.fromkeys(("H1", "H2", "H3", "H5", "H6"), "contradicts") | dict.fromkeys(
        ("H4", "H7", "H8"), NOT_MEASURABLE
    )
    assert finding["supporting"].values.sum() == 0
    assert [number.value for number in finding.key_numbers] == [0, 5, 0, 3, 6, planted.COUNT]


def test_effects_are_the_differences_of_the_means_by_hand() -> None:
    findings = as_claimed()
    finding = Traits().of(findings)
    each = {f.specimen: f for f in findings if f.analysis == "objects"}
    right = np.all([each[name]["each_correct"].values == 1 for name in ("d1", "d2", "w1", "w2")], axis=0)
    means = {name: each[name]["each_coverage50"].values[right].mean() for name in each}
    by_hand = 100 * ((means["w1"] + means["w2"]) / 2 - (means["d1"] + means["d2"]) / 2)
    assert finding["hypothesis_effect"].values[0] == pytest.approx(by_hand)
    assert finding["hypothesis_low"].values[0] < by_hand < finding["hypothesis_high"].values[0]
    assert int(finding["hypothesis_n"].values[0]) == right.sum()
    pair = finding["pair_effect"].sel(pair="H1: area of half the evidence, more in w1 than in d2")
    both = (each["w1"]["each_correct"].values == 1) & (each["d2"]["each_correct"].values == 1)
    difference = each["w1"]["each_coverage50"].values - each["d2"]["each_coverage50"].values
    assert float(pair) == pytest.approx(100 * difference[both].mean())


def test_no_claim_but_these_models_is_ever_made() -> None:
    finding = Traits().of(as_claimed())
    assert finding.caveats[0].startswith("Every verdict is model-level (2 deeper, 2 wider, 2 attention)")
    assert set(finding["models"].values) >= {"2 wider, 2 deeper", "2 deeper"}
    alone = Traits().of([f for f in as_claimed() if f.specimen in ("d1", "w1")])
    assert str(alone["hypothesis_models"].values[0]) == "1 wider, 1 deeper"
    assert verdicts(alone)["H1"] == "supports"


def test_one_network_alone_still_gets_the_verdicts_against_its_twins(tmp_path: Path) -> None:
    finding = Traits().of([f for f in as_claimed() if f.specimen == "d1"])
    assert verdicts(finding) | {"H5": "", "H6": ""} == dict.fromkeys(HYPOTHESES, NOT_MEASURABLE) | {"H5": "", "H6": ""}
    assert verdicts(finding)["H5"] == "supports"
    reasons = dict(zip(map(str, finding["reason"].coords["claim"].values), map(str, finding["reason"].values), strict=True))
    assert (
        reasons["H1: area of half the evidence, more in wider than in deeper"]
        == "no trained network of the wider family was measured"
    )
    testing.check_finding(finding, tmp_path)


@pytest.mark.parametrize("analysis", ["objects", "weights", "similarity", "redundancy", "probe", "cam", "cost"])
def test_a_missing_finding_costs_only_its_own_claims(analysis: str, tmp_path: Path) -> None:
    whole, finding = Traits().of(as_claimed()), Traits().of([f for f in as_claimed() if f.analysis != analysis])
    lost = {"objects": {"H1", "H2", "H3"}, "weights": {"H5"}}.get(analysis, set())
    assert {code for code in HYPOTHESES if verdicts(whole)[code] != verdicts(finding)[code]} == lost
    unmeasured = finding["verdict"].values == NOT_MEASURABLE
    assert all(finding["reason"].values[unmeasured])
    testing.check_finding(finding, tmp_path)


def test_findings_of_objects_that_cannot_stand_side_by_side_are_refused_in_a_sentence() -> None:
    findings = as_claimed()
    other = {"other images": lambda f: replace(f, origin=f.origin | {"images": {"digest": "x"}}),
             "other options": lambda f: replace(f, origin=f.origin | {"options": planted.OPTIONS | {"grid": 14}})}  # fmt: skip
    words = {"other images": "different images", "other options": "other options for d1"}
    for kind, changed in other.items():
        finding = Traits().of([changed(f) if (f.specimen, f.analysis) == ("d1", "objects") else f for f in findings])
        assert verdicts(finding)["H1"] == NOT_MEASURABLE and verdicts(finding)["H5"] == "supports"
        assert words[kind] in str(finding["reason"].values[0])


def test_few_images_give_no_verdict_but_the_number_that_is_missing() -> None:
    findings = [planted.objects(name, np.random.default_rng(3), count=12, coverage=0.1 * n) for n, name in enumerate(NAMES)]
    finding = Traits().of(findings)
    assert set(finding["verdict"].values) == {NOT_MEASURABLE}
    assert str(finding["reason"].values[0]).endswith("and 20 are needed")


def test_without_known_classes_coverage_is_over_all_images() -> None:
    findings = [
        planted.objects(name, np.random.default_rng([3, n]), coverage=0.2 + 0.1 * (name[0] == "w"))
        for n, name in enumerate(NAMES)
    ]
    blind = [replace(f, arrays=dict(f.arrays) | {"each_correct": f["each_correct"] * np.nan}) for f in findings]
    finding = Traits().of(blind)
    assert verdicts(finding)["H1"] == "supports" and int(finding["hypothesis_n"].values[0]) == planted.COUNT
    assert "over all images" in str(finding["hypothesis_evidence"].values[0])
    accuracy = [str(name).startswith("H2: accuracy") for name in finding["verdict"].coords["claim"].values]
    assert set(finding["verdict"].values[accuracy]) == {NOT_MEASURABLE}


def test_untrained_networks_are_left_out() -> None:
    findings = [
        replace(f, origin=f.origin | {"specimen": f.origin["specimen"] | {"trained": f.specimen != "w2"}}) for f in as_claimed()
    ]
    finding = Traits().of(findings)
    assert finding.facts["left_out"] == ["w2"] and list(finding.facts["networks"]) == ["d1", "d2", "w1", "a1", "a2"]
    assert any(line.startswith("Left out") and "w2" in line for line in finding.caveats)


def test_each_family_has_a_table_made_from_the_verdicts() -> None:
    finding = Traits().of(as_claimed())
    for family in FAMILIES:
        kinds, sentences = finding[f"{family}_kind"].values, finding[f"{family}_sentence"].values
        assert len(kinds) == len(sentences) and all(str(line).endswith(".") for line in sentences)
    deeper = dict(zip(map(str, finding["deeper_sentence"].values), map(str, finding["deeper_kind"].values), strict=True))
    small = [
        (line, kind)
        for line, kind in deeper.items()
        if line.startswith("Localisation lift on small objects: higher than in wider")
    ]
    assert [kind for _, kind in small] == ["strength"]
    attention = [
        str(line) for line in finding["attention_sentence"].values if str(line).startswith("Localisation lift on small objects")
    ]
    assert all("lower" in line for line in attention)


def test_no_findings_and_crossed_borders_are_refused() -> None:
    with pytest.raises(Unmeasurable, match="traits needs findings of at least one specimen"):
        Traits().of([])
    with pytest.raises(BadOption, match="small objects end at 0.5"):
        Traits(small=0.5, large=0.2)


def test_with_untrained_networks_alone_nothing_is_measured(tmp_path: Path) -> None:
    findings = [replace(f, origin=f.origin | {"specimen": f.origin["specimen"] | {"trained": False}}) for f in as_claimed()]
    finding = Traits().of(findings)
    assert finding.headline == "None of the eight hypotheses can be measured: there is no trained network of a known family."
    assert set(finding["verdict"].values) == {NOT_MEASURABLE}
    testing.check_finding(finding, tmp_path)
