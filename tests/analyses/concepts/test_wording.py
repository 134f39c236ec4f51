"""The sentence, key numbers and caveats of `concepts` for every verdict."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from microtome.analyses.concepts.arrays import ABOVE, ALIKE, BELOW
from microtome.analyses.concepts.wording import clearest, concept_caveats, concept_headline, concept_numbers, concept_panels
from microtome.finding import Finding, array
from microtome.instruments.untrained_twins import NO_VERDICT

FACTS = {
    "labels": "by class name",
    "pooled": [],
    "examples": {"dots": 30},
    "class_images": {"zebra": 40},
    "pool": {"dots": 200},
}


def made_finding(verdicts: list[str], **facts: object) -> Finding:
    coords = {"concept": ["dots"], "layer": ["a", "b"]}
    spans = [f"{name}{end}" for name in ("score", "alignment") for end in ("", "_low", "_high")]
    numbers = {
        name: [[0.2, 0.9]] for name in (*spans, "random_score", "random_alignment", "accuracy", "random_accuracy", "twin_score")
    }
    arrays: dict[str, xr.DataArray] = {
        name: array(value, ("concept", "layer"), "1", coords) for name, value in ({"p": [[0.5, 0.01]]} | numbers).items()
    }
    arrays["verdict"] = array(np.array([verdicts], dtype=object), ("concept", "layer"), "text", coords)
    return Finding(analysis="concepts", arrays=arrays, origin={"facts": FACTS | facts})


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ([ALIKE, ABOVE], "The concept 'dots' raises the class score at b: TCAV score 90.0%"),
        ([BELOW, ALIKE], "The concept 'dots' lowers the class score at a: TCAV score 20.0%"),
        ([ALIKE, ALIKE], "No concept is distinguishable"),
        ([ALIKE, NO_VERDICT], "No concept is distinguishable"),
        ([NO_VERDICT, NO_VERDICT], "No concept vector is better than a random one"),
    ],
)
def test_headlines(verdicts, words):
    sentence = concept_headline(made_finding(verdicts))
    assert sentence.startswith(words) and len(sentence.split()) <= 20


def test_the_clearest_has_a_verdict_before_a_small_p():
    assert clearest(made_finding([ABOVE, ALIKE])) == (0, 0) and clearest(made_finding([ALIKE, ALIKE])) == (0, 1)


def test_key_numbers():
    above = {number.name: number for number in concept_numbers(made_finding([ALIKE, ABOVE]))}
    assert above["above random concepts"].value == 0.5 and above["below random concepts"].value == 0
    assert above["TCAV score"].at == "dots, b"
    unknown = concept_numbers(made_finding([NO_VERDICT, NO_VERDICT]))
    assert np.isnan(unknown[-1].value) and np.isnan(unknown[-2].value)


def test_caveats_say_what_is_so():
    plain = concept_caveats(made_finding([ALIKE, ABOVE]))
    assert len(plain) == 3
    many = concept_caveats(
        made_finding(
            [NO_VERDICT, ABOVE], labels="", pooled=["a"], examples={"dots": 8}, class_images={"zebra": 3}, pool={"dots": 20}
        )
    )
    for words in (
        "No verdict for 1 of 2 concept vectors",
        "predicted as it",
        "too wide to be flattened: a",
        "dots (8)",
        "only 20 images",
    ):
        assert any(words in line for line in many), words
    untrained = replace(made_finding([ALIKE, ABOVE]), origin={"facts": FACTS, "specimen": {"trained": False}})
    assert concept_caveats(untrained)[0] == "These weights are untrained."


def test_panels_name_arrays_of_the_finding():
    assert {panel.kind for panel in concept_panels()} == {"Bars", "Table"}
