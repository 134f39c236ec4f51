"""The words of numbers, differences and verdicts."""

from typing import Any

import pytest

from microtome.training.experiment.wording import (
    changes_text,
    experiment_headline,
    few_seeds_line,
    interval_text,
    number_text,
    per_cent_note,
    seeds_text,
)


def test_numbers_and_differences_have_their_unit_and_sign() -> None:
    assert number_text({"value": 0.5, "low": 0.4, "high": 0.6, "unit": "fraction"}) == "50.0% [40.0%, 60.0%]"
    assert number_text(None) == number_text({"value": None, "low": None, "high": None, "unit": "1"}) == "–"
    assert interval_text([0.031, -0.01, 0.07], "fraction") == "+3.1% [-1.0%, 7.0%]"
    assert interval_text([-0.5, None, None], "1") == "-0.500" and interval_text([0.0, None, None], "px") == "0 px"
    assert interval_text([None, None, None], "1") == "–"
    assert seeds_text({"by_seed": [0.01, -0.02], "unit": "fraction"}) == "+1.0%, -2.0%"


def test_changes_are_written_as_in_the_file() -> None:
    changes = {"network.edits": ["dropout:p=0.1"], "augmentation.flip": False, "run.epochs": 3}
    assert changes_text(changes) == 'network.edits = ["dropout:p=0.1"], augmentation.flip = false, run.epochs = 3'
    assert changes_text({}) == "the recipe as it is"


def summary(verdict: str, over_seeds: list[float | None], seeds: int = 3) -> dict[str, Any]:
    rows = [
        {"variant": "small", "number": "accuracy", "unit": "fraction", "over_seeds": [0.01, 0.0, 0.02], "verdict": "higher"},
        {"variant": "a very long name of gates", "number": "accuracy", "unit": "fraction", "over_seeds": over_seeds,
         "verdict": verdict},
    ]  # fmt: skip
    return {
        "numbers": [{"name": "accuracy"}],
        "differences": rows,
        "seeds": list(range(seeds)),
        "reference": "baseline",
        "runs": [],
    }


@pytest.mark.parametrize(
    ("verdict", "over_seeds", "ending"),
    [
        ("higher", [0.1, 0.05, 0.15], "+10.0% [5.0%, 15.0%] against baseline, over 3 seeds."),
        ("not significant", [0.1, -0.05, 0.25], "+10.0% [-5.0%, 25.0%] against baseline, over 3 seeds, not significant."),
        ("too few seeds", [-0.1, None, None], "-10.0% against baseline, over 3 seeds, interval unknown."),
    ],
)
def test_the_headline_tells_the_largest_difference(verdict: str, over_seeds: list[float | None], ending: str) -> None:
    text = experiment_headline(summary(verdict, over_seeds))
    assert text == f"Accuracy of a very long name…: {ending}" and len(text.split()) <= 20


def test_notes_stand_only_where_they_are_true() -> None:
    assert few_seeds_line(3, 3) == "" and few_seeds_line(1, 3).startswith("With 1 seed there is no interval")
    assert per_cent_note([{"unit": "1"}]) == "" and "percentage points" in per_cent_note([{"unit": "fraction"}])
