"""Claims on the last layers: networks that are one more set of random weights give no verdict, planted ones the right one."""

from dataclasses import replace

import numpy as np
import pytest

import planted_study as planted
from microtome.analyses.traits.claims import CONTRADICTS, NOT_MEASURABLE, SUPPORTS
from microtome.analyses.traits.material import gather_study
from microtome.analyses.traits.twin_claims import (
    influence_evidence,
    judge_last_layers,
    judge_networks,
    similarity_evidence,
    weight_evidence,
)
from microtome.finding import array

DRAWS = 240


def study_of(seed: int, twins: int = 5, **planted_change: float):
    def findings(name: str):
        random = np.random.default_rng([seed, *name.encode()])
        sign = 1 if planted.FAMILY_OF[name] == "wider" else -1
        factor, change = planted_change.get("factor", 1.0) ** sign, planted_change.get("change", 0.0) * sign
        return {
            "weights": planted.weights(name, random, factor=factor, twins=twins),
            "similarity": planted.similarity(name, random, change=change, twins=twins),
            "redundancy": planted.redundancy(name, random, factor=factor, twins=twins),
        }

    return gather_study({name: findings(name) for name in planted.FAMILY_OF})


@pytest.mark.parametrize("judge", [judge_last_layers, judge_networks])
def test_one_more_set_of_random_weights_is_supported_in_at_most_five_of_a_hundred_studies(judge) -> None:
    """For families each hypothesis is held together, for single networks each measure; three standard errors are allowed."""
    supported: dict[str, int] = {}
    rejected: dict[str, int] = {}
    for seed in range(DRAWS):
        words: dict[str, set[str]] = {}
        for each in judge(study_of(seed)):
            words.setdefault(each.hypothesis if judge is judge_last_layers else each.evidence, set()).add(each.verdict)
        for code, verdicts in words.items():
            supported[code] = supported.get(code, 0) + (SUPPORTS in verdicts)
            rejected[code] = rejected.get(code, 0) + bool({SUPPORTS, CONTRADICTS} & verdicts)
    error = np.sqrt(DRAWS * 0.05 * 0.95)
    assert max(supported.values()) <= 0.05 * DRAWS + error, supported
    assert max(rejected.values()) <= 0.05 * DRAWS + 3 * error, rejected
    assert max(rejected.values()) > 0


def test_what_is_planted_is_supported_and_its_opposite_contradicted() -> None:
    true = judge_last_layers(study_of(0, factor=4.0, change=0.3))
    assert {each.verdict for each in true} == {SUPPORTS}
    false = judge_last_layers(study_of(0, factor=0.25, change=-0.3))
    assert {each.verdict for each in false} == {CONTRADICTS}
    assert {each.verdict for each in judge_networks(study_of(0, factor=8.0, change=0.5))} == {SUPPORTS}


def test_the_effect_of_one_network_is_its_ratio_to_the_geometric_mean_of_its_twins() -> None:
    finding = planted.weights("d1", np.random.default_rng(0), factor=0.3)
    (judgement,) = [each for each in judge_networks(gather_study({"d1": {"weights": finding}})) if each.evidence == "weights"]
    twins = np.median(finding["each_twin_w1_over_sigma"].values, axis=1)
    by_hand = np.median(finding["w1_over_sigma"].values) / np.exp(np.log(twins).mean())
    assert judgement.interval.value == pytest.approx(by_hand)
    half = 2.7764451052 * np.log(twins).std(ddof=1) * np.sqrt(1.2)  # Student's 97.5% point with four degrees
    assert judgement.interval.high == pytest.approx(by_hand * np.exp(half))


@pytest.mark.parametrize("twins", [0, 1])
def test_too_few_twins_are_named(twins: int) -> None:
    for judgement in judge_networks(study_of(0, twins=max(twins, 1))):
        assert judgement.verdict == NOT_MEASURABLE and "1 untrained twins were measured, and 2 are needed" in judgement.reason


def test_findings_that_cannot_be_used_are_refused_with_the_reason() -> None:
    weights = planted.weights("d1", np.random.default_rng(0))
    assert "other layers" in weight_evidence(replace(weights, origin=weights.origin | {"options": {"at": ["stage1"]}})).reason
    old = replace(weights, arrays={name: a for name, a in weights.arrays.items() if not name.startswith("each")})
    assert "older version" in weight_evidence(old).reason
    unusable = replace(weights, arrays=dict(weights.arrays) | {"w1_over_sigma": array([np.nan, np.nan], ("pair",), "1")})
    assert "hold weights of one role" in weight_evidence(unusable).reason
    similar = planted.similarity("d1", np.random.default_rng(0))
    withheld = replace(similar, origin=similar.origin | {"facts": {"no_verdict": "one layer"}})
    assert similarity_evidence(withheld).reason == "similarity gives no verdict: one layer"
    still = planted.redundancy("d1", np.random.default_rng(0))
    zero = replace(still, arrays=dict(still.arrays) | {"influence": still["influence"] * 0})
    assert influence_evidence(zero).reason == "its change or that of its twins is zero"
