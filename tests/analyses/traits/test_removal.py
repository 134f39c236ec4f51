"""H7 and H8: decided by removal alone; without it, what would measure it."""

import pytest

import planted_study as planted
from microtome.analyses.traits.claims import CONTRADICTS, NOT_MEASURABLE, NOT_SIGNIFICANT, SUPPORTS
from microtome.analyses.traits.material import gather_study
from microtome.analyses.traits.removal import judge_removal
from microtome.finding import Finding, array


def slimming(name: str, low: float, high: float) -> Finding:
    values = {"loss": (low + high) / 2, "low": low, "high": high}
    blocks = {"candidate": ["first", "middle", "last"]}
    arrays = {f"plain_{end}": array([0.5, value, 0.5], ("candidate",), "fraction", blocks) for end, value in values.items()}
    origin = planted.origin(name, "slimming") | {"facts": {"penultimate": "middle", "images": {"chosen": 40, "reported": 60}}}
    return Finding(analysis="slimming", arrays=arrays, origin=origin)


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict"),
    [
        ("d1", -0.01, 0.005, SUPPORTS),
        ("d1", 0.1, 0.3, CONTRADICTS),
        ("a1", -0.02, 0.05, NOT_SIGNIFICANT),
        ("w1", 0.1, 0.3, SUPPORTS),
        ("w1", -0.01, 0.005, CONTRADICTS),
    ],
)
def test_a_loss_is_compared_with_one_point(name: str, low: float, high: float, verdict: str) -> None:
    judgements = judge_removal(gather_study({name: {"slimming": slimming(name, low, high)}}))
    assert [each.verdict for each in judgements if each.first == name] == [verdict]
    (own,) = [each for each in judgements if each.first == name]
    assert own.interval.value == pytest.approx(50 * (low + high))
    assert own.samples == 60
    assert sum(each.verdict == NOT_MEASURABLE for each in judgements) == 2


def test_without_a_removal_the_command_that_measures_it_is_named() -> None:
    judgements = judge_removal(gather_study({"d1": {"cost": planted.cost("d1", 1.0)}}))
    assert {each.verdict for each in judgements} == {NOT_MEASURABLE}
    assert judgements[0].reason == "only removal decides; measure it: mt.analyze(specimens, images, out, only=['slimming'])"
    assert judgements[1].reason == "no trained network of the attention family was measured"


def test_a_finding_of_another_form_decides_nothing() -> None:
    other = Finding(analysis="slimming", arrays={"x": array(1.0, (), "1")}, origin=planted.origin("d1", "slimming"))
    assert {each.verdict for each in judge_removal(gather_study({"d1": {"slimming": other}}))} == {NOT_MEASURABLE}
