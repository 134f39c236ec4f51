"""The sentences of `transfer`, from findings made by hand."""

from dataclasses import replace

import numpy as np

from microtome.analyses.transfer.transfer import Transfer
from microtome.analyses.transfer.wording import caveats, class_count, headline
from microtome.analysis import Measurement
from microtome.finding import Finding, array

LAYERS = {"layer": ["a", "b"]}


def finding(ridge: tuple[float, float] = (0.5, 0.9), twin: float = -1.0, gbc: float = -2.0, h_score: float = 1.0) -> Finding:
    names = ("logme", "gbc", "parc", "h_score", "transrate", "ridge", "nearest", "logme_few")
    arrays = {}
    for name in names:
        values = {"ridge": ridge, "gbc": (-3.0, gbc), "h_score": (0.5, h_score)}.get(name, (0.3, 0.2))
        for end, shift in (("", 0.0), ("_low", -0.01), ("_high", 0.01)):
            arrays[f"{name}{end}"] = array(np.array(values) + shift, ("layer",), "1", LAYERS)
    arrays |= {
        "twin_logme": array([twin, twin], ("layer",), "nats", LAYERS),
        "against_twins": array(["above all twins"] * 2, ("layer",), "text", LAYERS),
        "width": array([8, 400], ("layer",), "features", LAYERS),
        "chance": array([0.1, 0.1], ("layer",), "fraction", LAYERS),
        "count": array([100, 64], ("source",), "images", {"source": ["network", "untrained twin"]}),
    }
    for end in ("", "_low", "_high"):
        arrays[f"own_classes{end}"] = array([np.nan, np.nan], ("measure",), "nats", {"measure": ["LEEP", "NCE"]})
    facts = {"classes": 10, "smallest_class": 10, "left_out": 0, "source_classes": 0, "no_verdict": "", "unmeasured": {}}
    return Transfer().conclude(Measurement(arrays, facts), {"specimen": {"trained": True}, "images": {}})


def test_headline_names_the_twins_or_the_probe() -> None:
    assert headline(finding()) == "LogME 0.300 at a; on 64 images 0.300, untrained twins -1."
    alone = finding()
    alone = replace(
        alone, key_numbers=tuple(replace(each, baseline=np.nan) if "twins" in each.name else each for each in alone.key_numbers)
    )
    assert (
        headline(alone) == "LogME 0.300 at a; a ridge probe there reaches 50.0% [49.0%, 51.0%], the most frequent class 10.0%."
    )


def test_a_probe_that_disagrees_is_trusted() -> None:
    assert "The ridge probe is better at b than at a, which LogME puts first: trust the probe." in caveats(finding())
    assert not any("trust the probe" in line for line in caveats(finding(ridge=(0.9, 0.5))))


def test_layers_at_the_bounds_of_scores_are_named() -> None:
    lines = " ".join(caveats(finding(gbc=-1e-9, h_score=8.9)))
    assert "GBC is near 0, its largest value, at b" in lines and "H-score is near its largest value, 9, at b" in lines
    assert "where there are no more images than features (b)" in lines
    assert "near" not in " ".join(caveats(finding()))


def test_classes_are_counted() -> None:
    assert class_count(np.array([0, 3, 1])) == "2 classes"
    assert class_count(np.array([5])) == "1 class"
