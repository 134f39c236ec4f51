"""The verdict beside the name of each kind, in numbers, words and caveats, and the panel that draws it."""

import numpy as np
import torch

import microtome as mt
from earlier_findings import pace_with, standing
from microtome.analyses.cam import Cam
from microtome.figures import draw_panel
from microtome.instruments.faithfulness.ranking import BETTER
from microtome.scan import Pace

VERDICTS = {
    "gradcam": (BETTER, False),
    "layercam": ("worse than the edge detector", True),
    "hirescam": ("not distinguishable from the centre blob", False),
}


def pace_with_verdicts() -> Pace:
    return pace_with({name: standing(verdict, warns, "blocks.2") for name, (verdict, warns) in VERDICTS.items()})


def test_verdicts_stand_beside_the_names(net, pics):
    finding = Cam(kinds="layercam,hirescam,smoothgrad", at="blocks.2", count=2)(net, pics, pace_with_verdicts())
    assert finding["standing"].coords["method"].values.tolist() == ["Grad-CAM", "LayerCAM", "HiResCAM", "SmoothGrad"]
    assert np.array_equal(finding["standing"].values, [1, -1, 0, np.nan], equal_nan=True)
    about = finding["about"].values.tolist()
    assert "Grad-CAM is better than all baselines (at blocks.2, 12 of these images)." in about[0] and "1610.02391" in about[0]
    assert "Warning: LayerCAM is worse than the edge detector" in about[1]
    assert "measure it with" in about[3] and "smoothgrad" in about[3]
    panel = finding.panels[0]
    assert panel.title == "Methods side by side" and {"methods", "standing", "about", "methods_target"} <= set(panel.arrays())
    text = " ".join(finding.caveats)
    assert "Warning: the maps of LayerCAM are in the median no better than a baseline" in text
    assert "Not shown to be better than all baselines: HiResCAM." in text


def test_one_kind_has_its_verdict_on_every_panel_with_maps(net, pics):
    finding = Cam(at="blocks.2", count=2)(net, pics, pace_with_verdicts())
    drawn = [panel for panel in finding.panels if panel.kind == "Overlay"]
    assert len(drawn) == 2 and all("standing" in panel.arrays() for panel in drawn)
    assert finding["standing"].values.tolist() == [1.0]


def test_where_nothing_can_be_measured_the_reason_is_given(net):
    few = mt.Images.tensors(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    finding = Cam(at="blocks.2", count=2)(net, few)
    assert np.isnan(finding["standing"].values).all()
    assert finding["about"].values[0].endswith("Faithfulness not measured: a verdict takes 6 images or more.")
    embedded = Cam(at="blocks.2", count=2, target="embedding", reference="0")(net, few)
    assert "the probability of a class" in embedded["about"].values[0]


def test_paper_has_the_deepest_layer_the_first_target_and_the_verdicts(net, pics):
    finding = Cam(kinds="layercam,inputgradient", at="blocks.1,blocks.2", count=2)(net, pics, pace_with_verdicts())
    paper = draw_panel(finding.arrays, finding.panels[0])
    labels = [label.get_text() for label in paper.axes[0].get_xticklabels()]
    assert labels[:3] == ["image", "Grad-CAM\nbeats baselines", "LayerCAM\nno better than\nbaselines"]
