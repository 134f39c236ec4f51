"""What `cam` says of the faithfulness of its kind, and kind best: the warning in headline, caveat and figure, and refusals."""

import pytest
import torch

import earlier_findings
import microtome as mt
from earlier_findings import standing
from microtome import testing
from microtome.analyses.cam import Cam
from microtome.analyses.objects import Objects
from microtome.errors import BadOption, Unmeasurable
from microtome.instruments.faithfulness.ranking import BETTER
from microtome.map_kinds import layer_kind_names
from microtome.scan import Pace


def pace_with(**standings: tuple[str, bool]) -> Pace:
    """A run that has a finding of faithfulness with these verdicts and warnings, the best first."""
    return earlier_findings.pace_with({name: standing(*words, "blocks.2") for name, words in standings.items()})


def test_a_warning_stands_in_the_headline_the_caveats_and_the_figure(net, pics):
    pace = pace_with(hirescam=(BETTER, False), gradcam=("worse than the edge detector", True))
    warned = Cam(count=2, at="blocks.2")(net, pics, pace)
    text = "Warning: Grad-CAM is worse than the edge detector (at blocks.2, 12 of these images)"
    assert warned.headline.startswith("Warning: no better than a baseline. At blocks.2 ") and len(warned.headline.split()) <= 20
    assert warned.caveats[0].startswith(text) and text in warned.panels[0].note
    quiet = Cam(count=2, at="blocks.2", kind="hirescam")(net, pics, pace)
    assert "Warning" not in quiet.headline + quiet.panels[0].note + "".join(quiet.caveats)


def test_a_warning_without_masks_keeps_the_headline_short(net):
    images = mt.Images.tensors(torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    finding = Cam(count=2, at="blocks.2")(net, images, pace_with(gradcam=("worse than the edge detector", True)))
    assert finding.headline.startswith("Warning: no better than a baseline.") and len(finding.headline.split()) <= 20


def test_doubt_is_a_caveat_and_no_warning(net, pics):
    pace = pace_with(gradcam=("not distinguishable from the centre blob", False))
    finding = Cam(count=2, at="blocks.2")(net, pics, pace)
    assert finding.caveats[0].startswith("Grad-CAM is ahead of all baselines in the median, but not distinguishable")
    assert "Warning" not in finding.headline + finding.panels[0].note


def test_best_takes_the_first_of_the_finding_and_says_so(net, pics):
    pace = pace_with(inputgradient=(BETTER, False), layercam=(BETTER, False), gradcam=(BETTER, False))
    best = Cam(kind="best", count=2)(net, pics, pace)
    assert best.facts["kind"] == "Input gradient" and best["heat"].coords["layer"].values.tolist() == ["input"]
    assert (
        best.caveats[0]
        == "Kind best: Input gradient, the most faithful of 3 kinds on 12 of these images (as faithfulness found)."
    )
    layers = Cam(kind="best", count=2, at="blocks.2")(net, pics, pace)
    assert layers.facts["kind"] == "LayerCAM" and "of 2 kinds" in layers.facts["choice"]
    objects = Objects(kind="best", at="blocks.2")(net, pics, pace)
    assert objects.facts["kind"] == "LayerCAM" and any(caveat.startswith("Kind best: LayerCAM") for caveat in objects.caveats)


def test_objects_warns_too(net, pics):
    finding = Objects(at="blocks.2")(net, pics, pace_with(gradcam=("worse than the edge detector", True)))
    assert finding.headline.startswith("Warning: no better than a baseline. Localisation lift at blocks.2:")
    assert len(finding.headline.split()) <= 20
    assert (
        finding.caveats[0].startswith("Warning: Grad-CAM is worse") and "Warning: Grad-CAM is worse" in finding.panels[0].note
    )


def test_best_is_measured_where_there_is_no_finding(net, pics, tmp_path):
    finding = testing.check(Cam(kind="best", at="blocks.2", count=2), net, pics, tmp_path)
    assert finding.facts["choice"].endswith("of these images (measured here)")
    assert finding.facts["trust"]["verdict"]
    assert len(layer_kind_names()) > 3


def test_best_is_refused_where_nothing_can_be_compared(net, pics):
    with pytest.raises(Unmeasurable, match="kind best compares kinds of map on several images, and there are 2"):
        Cam(kind="best")(net, pics.take([0, 1]))
    with pytest.raises(Unmeasurable, match="kind best compares kinds of map by the probability of a class; name one"):
        Cam(kind="best", target="embedding", reference="0")(net, pics)
    with pytest.raises(BadOption, match="best"):
        Cam(kind="bst")
