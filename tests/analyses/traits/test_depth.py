"""H4 is described and never judged."""

import numpy as np
import pytest

import planted_study as planted
from microtome.analyses.traits.claims import NOT_MEASURABLE
from microtome.analyses.traits.depth import NO_CLAIM, describe_depth
from microtome.analyses.traits.material import gather_study


def test_the_gain_is_a_difference_of_gains_without_a_verdict() -> None:
    ends = {"d1": (0.0, 1.0), "w1": (0.5, 1.0), "a1": (1.0, 1.0)}
    findings = {name: {"probe": planted.probe(name, *both, np.random.default_rng(0))} for name, both in ends.items()}
    (judgement,) = describe_depth(gather_study(findings))
    gain = 1 - findings["w1"]["probe"]["correct"].values[0].mean()
    assert judgement.interval.value == pytest.approx(100 * (1 + gain) / 2)
    assert judgement.interval.low < judgement.interval.value < judgement.interval.high
    assert judgement.verdict == NOT_MEASURABLE and judgement.reason == NO_CLAIM and judgement.samples == planted.COUNT


def test_without_probes_of_both_sides_only_the_reason_is_given() -> None:
    (judgement,) = describe_depth(gather_study({"d1": {"probe": planted.probe("d1", 0.2, 0.9, np.random.default_rng(0))}}))
    assert np.isnan(judgement.interval.value) and judgement.verdict == NOT_MEASURABLE
