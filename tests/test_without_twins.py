"""`--twins 0` in every analysis: no number bears a twin's name, no verdict is given against twins, and it is said so."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.cross_similarity import CrossSimilarity
from microtome.finding import Finding
from microtome.instruments.untrained_twins import NOT_MEASURED, VERDICTS, WITHOUT_TWINS
from microtome.runner import analyze
from microtome.scan import Pace

PACE = Pace(batch=20, device="cpu")
NETWORKS = ("microtome:mini_resnet", "microtome:mini_densenet", "microtome:mini_deit", "microtome:mini_deeplab")
SETTINGS = {
    "cost": {"repeats": 3, "batch": 2}, "deconvnet": {"units": 2, "k": 2}, "occlusion": {"count": 2, "stride": 16},
    "invariance": {"count": 3}, "atrous": {"count": 2}, "erf": {"count": 3}, "dead_pixels": {"count": 3, "probes": 1},
    "position": {"count": 3}, "supervision": {"count": 4},
    "robustness": {"count": 3, "corruptions": ("fog",), "severities": (3,)},
}  # fmt: skip


def check_without_twins(finding: Finding) -> None:
    for name, values in finding.arrays.items():
        for dim in values.dims if name != "count" else ():
            labels = [str(label) for label in values.coords[dim].values] if dim in values.coords else []
            marked = [place for place, label in enumerate(labels) if label in ("twin", "untrained twin", "untrained twins")]
            assert not _known(values.isel({dim: marked}).values), (name, dim)
        if "twin" in name.partition("/")[0]:
            assert not _known(values.values), name
    verdicts = set(VERDICTS.values())
    texts = [text for values in finding.arrays.values() if values.dtype.kind in "UO" for text in values.values.ravel()]
    assert not verdicts & {str(text) for text in texts}
    for number in finding.key_numbers:
        if "twins" in number.baseline_name:
            assert np.isnan(number.baseline) and number.baseline_text == NOT_MEASURED, number
        if "twin" in number.name and "images" not in number.name:  # accuracy on the twins' images is the network's own
            assert number.text == NOT_MEASURED, number
    if any("twin" in name for name in finding.arrays):
        assert WITHOUT_TWINS in finding.caveats
    spoken = " ".join([finding.headline, *finding.caveats])
    assert not any(verdict in spoken for verdict in verdicts) and "nan" not in finding.headline.lower().split(), spoken
    assert "not shown to be due to training" not in spoken


def _known(values: np.ndarray) -> bool:
    """Whether some of these is a number, or a text that says something."""
    if values.dtype.kind in "UO":
        return not set(values.ravel().astype(str)) <= {NOT_MEASURED, "no verdict", "untrained"}
    return bool(np.isfinite(values).any()) and not (values.dtype == np.uint8 and (values == 128).all())


@pytest.mark.parametrize("name", NETWORKS)
def test_no_analysis_compares_with_a_twin_that_is_not_there(name: str, tmp_path: Path) -> None:
    images = mt.Images.scenes(20, seed=11, size=64, classes=("disc", "star", "cross", "heart"))
    outcome = analyze([mt.open(name)], images, tmp_path, pace=PACE, settings=SETTINGS, twins=0)
    assert not outcome.failed, outcome.failed
    compared = 0
    for finding in outcome.findings.values():
        check_without_twins(finding)
        compared += WITHOUT_TWINS in finding.caveats
        if finding.analysis != "compare":
            testing.check_finding(finding, tmp_path / "checked" / finding.analysis)
    assert compared >= 12
    again = analyze([mt.open(name)], images, tmp_path, only=["similarity"], pace=PACE, settings=SETTINGS, twins=0)
    assert again.reused and not again.failed


def test_two_networks_without_twins(net: mt.Specimen, tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    finding = CrossSimilarity(to=mt.open(tiny(seed=1), recipe=net.recipe))(net, pics, Pace(batch=64, device="cpu"), twins=0)
    check_without_twins(finding)
    assert "untrained twins not measured" in finding.headline


def test_a_key_number_keeps_what_is_not_measured_on_disk(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = mt.analyses.redundancy.Redundancy()(net, pics, PACE, twins=0)
    finding.save(tmp_path / "redundancy")
    again = Finding.load(tmp_path / "redundancy")
    assert [number.baseline_text for number in again.key_numbers] == [number.baseline_text for number in finding.key_numbers]
    assert again.key("blocks below all untrained twins").text == NOT_MEASURED
    assert finding.headline.endswith("untrained twins not measured.")
