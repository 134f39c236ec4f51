"""The effect of a training claim is that of its variant and number; a failed run is no effect. And one is really trained."""

import math
import re

import pytest

from microtome.errors import BadOption
from microtome.replicate.cards import own_claims
from microtome.replicate.claim import RunContext
from microtome.replicate.claims.gates_raise_accuracy import GatesRaiseAccuracy
from microtome.training.experiment.definition import read_experiment


def summary(state: str = "finished", over: list[float | None] | None = None) -> dict:
    runs = [
        {"variant": variant, "seed": seed, "state": state, "reason": "no disk", "numbers": {"accuracy": {"value": value}}}
        for variant, values in (("gates", (0.6, 0.8)), ("baseline", (0.5, 0.5)))
        for seed, value in enumerate(values)
    ]
    row = {"variant": "gates", "number": "accuracy", "unit": "fraction", "seeds": [0, 1], "by_seed": [0.1, 0.3]}
    other = {**row, "number": "loss", "by_seed": [9, 9], "over_seeds": [9.0, 8.0, 10.0]}
    return {
        "name": "x", "reference": "baseline", "runs": runs,
        "differences": [other, {**row, "over_seeds": over or [0.2, -0.1, 0.5]}],
    }  # fmt: skip


def test_the_effect_is_the_difference_over_seeds() -> None:
    effect = GatesRaiseAccuracy().effect_of_summary(summary())
    assert (effect.value, effect.low, effect.high) == (0.2, -0.1, 0.5)
    assert effect.covers == "95% over 2 seeds, Student, paired by seed"
    assert effect.rows == (
        ("gates, mean over seeds", "70.0%"), ("baseline, mean over seeds", "50.0%"),
        ("difference, seed 0", "10.0%"), ("difference, seed 1", "30.0%"),
    )  # fmt: skip
    assert math.isnan(GatesRaiseAccuracy().effect_of_summary(summary(over=[0.2, None, None])).low)


def test_a_failed_run_and_a_missing_number_are_refused() -> None:
    with pytest.raises(BadOption, match=r"4 runs of x failed; the first: no disk"):
        GatesRaiseAccuracy().effect_of_summary(summary("failed"))
    with pytest.raises(BadOption, match=r"has no number 'accuracy' of a variant 'gates'"):
        GatesRaiseAccuracy().effect_of_summary({**summary(), "differences": []})


@pytest.mark.parametrize("name", [name for name, card in own_claims().items() if card.kind == "training"])
def test_every_experiment_compares_two_ways_and_measures_the_number(name, tmp_path) -> None:
    claim = own_claims()[name].load()
    experiment = claim.experiment(RunContext(tmp_path, tmp_path))
    assert {variant.name for variant in experiment.variants} == {claim.variant, experiment.reference}
    assert claim.number in [number.text for number in experiment.numbers]
    first, second = (experiment.variant_recipe(variant, 0).digest for variant in experiment.variants)
    assert first != second and len(experiment.seeds) >= 3


def test_a_claim_is_trained_and_its_runs_are_not_repeated(tmp_path, monkeypatch) -> None:
    tiny = {
        "seeds": [0],
        "variant": [{"name": "gates", "changes": {"network.edits": ["squeeze_excitation:ratio=8"]}}],
        "recipe": {
            "network": {"name": "microtome:mini_resnet"}, "run": {"epochs": 1, "batch": 8},
            "data": {"images": "scenes:20,seed=1", "validation": "scenes:20,seed=2", "size": 32},
        },
    }  # fmt: skip
    monkeypatch.setattr(GatesRaiseAccuracy, "experiment", lambda self, context: read_experiment(tiny))
    lines: list[str] = []
    context = RunContext(tmp_path, tmp_path, lines.append)
    effect = GatesRaiseAccuracy().run("mini", context)
    assert -1 <= effect.value <= 1 and len(effect.rows) == 3 and math.isnan(effect.low)  # one seed has no interval
    lines.clear()
    assert GatesRaiseAccuracy().run("mini", context).rows == effect.rows
    assert len(lines) == 2 and all(re.search("finished before", line) for line in lines)
