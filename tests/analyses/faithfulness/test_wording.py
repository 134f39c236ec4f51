"""Headlines and caveats of `faithfulness` in every state, from findings made by hand."""

import numpy as np
import pytest

from microtome.analyses.faithfulness import Faithfulness
from microtome.analysis import Measurement
from microtome.finding import Finding, array
from microtome.instruments.faithfulness.ranking import BETTER

METHODS = {"hirescam": "HiResCAM", "eigencam": "Eigen-CAM", "centre": "Centre blob"}


def faithfulness_finding(
    verdicts: tuple[str, str], left: tuple[float, float] = (0.1, 0.1), ends: tuple[float, float] = (0.2, 0.4)
) -> Finding:
    """Two kinds and one baseline: what each keeps of its map when weights are drawn anew, and the interval of the best gain."""
    names = {"method": list(METHODS.values())}
    numbers = {
        "gain": [0.3, 0.1, np.nan], "gain_low": [ends[0], 0.0, np.nan], "gain_high": [ends[1], 0.2, np.nan], "deletion": [0.2, 0.3, 0.5],
        "insertion": [0.8, 0.7, 0.6], "randomised": [*left, 1.0],
    }  # fmt: skip
    arrays = {name: array(values, ("method",), "1", names) for name, values in numbers.items()}
    arrays["verdict"] = array(np.array([*verdicts, "baseline"], dtype=object), ("method",), "text", names)
    arrays["beside_best"] = array(np.array(["", "worse", ""], dtype=object), ("method",), "text", names)
    arrays["twin_gain"] = array([0.01, 0.02], ("image",), "1")
    arrays["score_by_image"] = array(np.zeros((3, 12)), ("method", "image"), "1", names)
    for curve in ("deletion_curve", "insertion_curve"):
        arrays[curve] = array(np.zeros((3, 3)), ("method", "fraction"), "1", names | {"fraction": [0.0, 0.5, 1.0]})
    arrays["cascade"] = array(np.ones((3, 2)), ("method", "stage"), "1", names | {"stage": ["trained weights", "head"]})
    arrays["least_gain"] = array(np.zeros((3, 1)), ("method", "method_"), "1", names | {"method_": ["Centre blob"]})
    standings = {
        name: {"verdict": verdict, "warns": verdict.startswith("worse"), "images": 12, "layer": "layer4"}
        for name, verdict in zip(METHODS, verdicts, strict=False)
    }
    facts = {"standings": standings, "titles": METHODS, "best": "hirescam", "baseline": "centre", "patch_px": 8, "twins": 5}
    analysis = Faithfulness(kinds="hirescam,eigencam")
    return analysis.conclude(Measurement(arrays, facts), {"specimen": {}, "options": analysis.options()})


@pytest.mark.parametrize(
    ("verdicts", "end"),
    [
        ((BETTER, BETTER), "all 2 methods beat"), ((BETTER, "worse than the centre blob"), "1 of 2 methods beats"),
        (("not distinguishable from the centre blob",) * 2, "none of the 2 methods beats"),
    ],
)  # fmt: skip
def test_the_headline_names_the_best_and_counts_those_that_beat_the_baselines(verdicts, end):
    headline = faithfulness_finding(verdicts).headline
    assert headline == f"HiResCAM is most faithful, 30 points [20, 40] above the centre blob; {end} all baselines."
    assert len(headline.split()) <= 20


def test_methods_that_warn_and_methods_that_stay_are_named():
    finding = faithfulness_finding((BETTER, "worse than the centre blob"), left=(0.2, 0.8))
    warned, kept = (
        next(caveat for caveat in finding.caveats if caveat.startswith(words)) for words in ("In the median", "Hardly")
    )
    assert warned.endswith("Eigen-CAM.") and kept.endswith("Eigen-CAM.") and "HiResCAM" not in warned + kept
    quiet = faithfulness_finding((BETTER, BETTER), left=(0.2, -0.8))
    assert not any(caveat.startswith(("In the median", "Hardly")) for caveat in quiet.caveats)


def test_without_an_interval_there_is_no_verdict():
    finding = faithfulness_finding(("no verdict", "no verdict"), ends=(np.nan, np.nan))
    assert (
        finding.headline
        == "HiResCAM gains most over the centre blob: 30 points [interval unknown]; too few images for a verdict."
    )
