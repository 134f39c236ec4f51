"""Sentences, key numbers and panels of findings made by hand: with accuracy, with agreement, with sweeps alone."""

import numpy as np

from microtome.analyses.robustness.conditions import list_conditions
from microtome.analyses.robustness.robustness import Robustness
from microtome.analyses.robustness.summary import overall_arrays, read_views, view_arrays
from microtome.analyses.robustness.wording import measured_name, robustness_key_numbers
from microtome.analysis import Measurement
from microtome.finding import Finding
from microtome.tally import Rows


def finding(
    labels: bool = True, corruptions: tuple[str, ...] = ("fog", "snow"), sweeps: tuple[str, ...] = ("contrast",), count: int = 6
) -> Finding:
    conditions = list_conditions(corruptions, [1, 2, 3, 4, 5], sweeps)
    random = np.random.default_rng(0)
    answers = random.integers(0, 3, (count, 1 + len(conditions)))
    held = Rows()
    moved = random.random((count, len(conditions), 1))
    sure = np.full(answers.shape, 0.8)
    held.add(np.arange(count), {"answer": answers, "sure": sure, "moved": moved, "clean/a": random.random((count, 2))})
    views = read_views(held, ["a"], answers[:, 0] if labels else None)
    arrays = view_arrays(views, views, conditions, ["a"])
    arrays |= overall_arrays(views, views, held, conditions, ["a"])
    facts = {"images": count, "class": "by class name" if labels else "", "twins": 5, "twin_classes": 1, "unmeasured": {}}
    return Robustness().conclude(Measurement(arrays, facts), {"specimen": {"trained": True}, "images": {}})


def test_with_accuracy() -> None:
    found = finding()
    assert measured_name(found) == "accuracy"
    names = [number.name for number in found.key_numbers]
    assert (
        names[:4] == ["accuracy under corruption", "accuracy under the worst corruption", "mCE", "relative mCE"]
        and len(names) == 6
    )
    assert found.headline.startswith("Accuracy ") and found.key_numbers[1].at in ("fog", "snow")
    assert any("matched to the classes by class name" in line for line in found.caveats)
    assert any("predicts one class" in line for line in found.caveats)
    assert "Errors over those of AlexNet" in [panel.title for panel in found.panels]


def test_with_agreement() -> None:
    found = finding(labels=False)
    assert measured_name(found) == "agreement" and found.headline.startswith("The answer stays the same in ")
    assert any("Keeping an answer is not being right" in line for line in found.caveats)
    assert not any("AlexNet" in panel.title for panel in found.panels)


def test_with_sweeps_alone() -> None:
    found = finding(corruptions=(), sweeps=("contrast", "brightness"))
    assert found.headline.startswith("Lowest accuracy, contrast: ")
    titles = [panel.title for panel in found.panels]
    assert "Accuracy by contrast" in titles and "Drift of each layer" not in titles


def test_drift_and_calibration_error_have_intervals_where_there_are_enough_images() -> None:
    names = ("drift of the last layer", "calibration error under corruption")
    many, few = (robustness_key_numbers(finding(corruptions=("spatter",), sweeps=(), count=count)) for count in (40, 6))
    for name in names:
        large, small = (next(each for each in numbers if each.name == name) for numbers in (many, few))
        assert large.low <= large.value <= large.high and large.low < large.high
        assert np.isfinite(small.value) and "interval unknown" in small.text
