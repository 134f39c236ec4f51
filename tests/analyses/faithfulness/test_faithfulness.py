"""Faithfulness of maps: a network whose evidence is known, the ranking, baselines, twins, refusals, and the laws."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.faithfulness import Faithfulness
from microtome.errors import UnknownName, Unmeasurable
from microtome.instruments.faithfulness.methods import BASELINES
from microtome.instruments.faithfulness.ranking import BETTER
from microtome.instruments.faithfulness.removal_trials import Canvas, RemovalPlan
from microtome.numerics.maps.removal import area_under, removal_order

SIDE = 16
PLAIN = {"size": SIDE, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class RedSquare(nn.Module):
    """Class 0 for what is red, position by position: the map is the evidence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 2, 2)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0, 0], self.conv.weight[0, 1] = 2.0, -2.0
            self.conv.weight[1, 2] = 1.0
            self.conv.bias.zero_()
            self.head.weight.copy_(torch.tensor([[6.0, 0.0], [-6.0, 0.5]]))
            self.head.bias.copy_(torch.tensor([-1.0, 1.0]))

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))


def red_squares(count: int = 12) -> mt.Images:
    """A red square of 4 px at the border of a grey image with bright stripes elsewhere, and its mask."""
    draw = np.random.default_rng(0)
    x, masks = np.full((count, 3, SIDE, SIDE), 0.4, np.float32), np.zeros((count, SIDE, SIDE), bool)
    for place in range(count):
        top, left = 2 * int(draw.integers(0, 7)), (0 if place % 2 else SIDE - 4)
        x[place, :, :, 7:9] = draw.uniform(0.6, 1.0, (SIDE, 2))
        x[place, :, top : top + 4, left : left + 4] = np.array([0.9, 0.1, 0.1])[:, None, None]
        masks[place, top : top + 4, left : left + 4] = True
    return mt.Images.tensors(x, masks=masks)


@pytest.fixture(scope="module")
def squares() -> mt.Specimen:
    return mt.open(RedSquare(), recipe=PLAIN, labels=["red", "other"])


@pytest.fixture(scope="module")
def finding(squares):
    return Faithfulness(kinds="hirescam,gradcam,eigencam", at="conv", repeats=1, cascade=2)(squares, red_squares())


def test_the_map_that_is_the_evidence_beats_all_baselines(finding):
    assert (
        finding.facts["standings"]["hirescam"]["verdict"] == BETTER
        and finding.facts["standings"]["hirescam"]["layer"] == "conv"
    )
    hires = finding["gain"].sel({"method": "HiResCAM"})
    assert float(hires) > 0.02 and float(finding["gain_low"].sel({"method": "HiResCAM"})) > 0
    assert finding["pointing"].sel({"method": "HiResCAM"}) == 1.0
    assert float(finding["lift"].sel({"method": "HiResCAM"})) > 0.7
    assert float(finding["deletion"].sel({"method": "HiResCAM"})) < float(finding["deletion"].sel({"method": "Random map"}))


def test_curves_and_areas_are_those_of_a_plain_loop(squares, finding):
    images = red_squares()
    x = squares.recipe.normalise(torch.from_numpy(images.inputs(squares.recipe)))
    classes = squares.run(x).argmax(1)
    blank = Canvas.prepare(squares, x, classes, RemovalPlan()).blank
    # the centre blob, by hand
    down = torch.exp(-((((torch.arange(SIDE) + 0.5) / SIDE - 0.5) / 0.25) ** 2) / 2).double()
    order = removal_order((down[:, None] * down[None]).expand(len(x), -1, -1), 1)
    curve = []
    for step in range(9):
        count = round(step / 8 * SIDE * SIDE)
        image = x.clone()
        for place in range(len(x)):
            for pixel in order[place, :count].tolist():
                image[place, :, pixel // SIDE, pixel % SIDE] = blank[place, :, pixel // SIDE, pixel % SIDE]
        curve.append(squares.run(image).double().softmax(1).gather(1, classes[:, None])[:, 0].numpy())
    found = finding["deletion_curve"].sel({"method": "Centre blob"}).values
    assert found == pytest.approx(np.mean(curve, 1), abs=1e-5)
    areas = area_under(np.stack(curve, 1), np.linspace(0, 1, 9))
    assert finding["deletion_by_image"].sel({"method": "Centre blob"}).values == pytest.approx(areas, abs=1e-5)


def test_gains_are_differences_on_the_same_images(finding):
    best = finding.facts["titles"][finding.facts["baseline"]]
    scores = finding["score_by_image"]
    gain = scores.sel({"method": "HiResCAM"}) - scores.sel({"method": best})
    assert float(finding["gain"].sel({"method": "HiResCAM"})) == pytest.approx(float(gain.median()))
    assert finding["score"].values == pytest.approx((finding["insertion"] - finding["deletion"]).values)
    methods = finding["gain"].coords["method"].values.tolist()
    assert methods[-3:] == list(BASELINES.values()) and float(finding["gain"].sel({"method": best})) == 0
    assert (np.diff(finding["gain"].values[:-3]) <= 1e-12).all()


def test_baselines_do_not_depend_on_weights_or_class(finding):
    fixed = finding.arrays["cascade"].sel({"method": list(BASELINES.values())})
    assert fixed.values == pytest.approx(1.0)
    assert finding["swap"].values[-3:] == pytest.approx(1.0)
    assert finding["cascade"].coords["stage"].values.tolist() == ["trained weights", "head", "conv"]
    assert float(finding["randomised"].sel({"method": "Grad-CAM"})) < 0.9


def test_on_untrained_twins_there_is_next_to_no_gain(net, pics):
    finding = Faithfulness(kinds="gradcam,hirescam", at="blocks.1", repeats=1, cascade=2, count=8)(net, pics)
    lead = finding.key("gain over the best baseline")
    assert lead.baseline_name == "untrained twins" and abs(lead.baseline) < 5.0
    assert finding["twin_gain"].sizes == {"image": 8}
    alone = Faithfulness(kinds="gradcam", at="blocks.1", repeats=1, cascade=2, count=6)(net, pics, twins=0)
    assert np.isnan(alone.key("gain over the best baseline").baseline)


def test_few_images_give_no_verdict(net, pics):
    finding = Faithfulness(kinds="gradcam", at="blocks.1", repeats=1, cascade=2, count=3)(net, pics)
    assert {standing["verdict"] for standing in finding.facts["standings"].values()} == {"no verdict"}
    assert "too few images for a verdict" in finding.headline
    assert any("3 images give no verdict; 6 are needed" in caveat for caveat in finding.caveats)


def test_a_kind_that_does_not_apply_is_named_with_its_reason(net, pics):
    finding = Faithfulness(kinds="gradcam,cam", at="blocks.0", repeats=1, cascade=2, count=6)(net, pics)
    assert list(finding.facts["standings"]) == ["gradcam"]
    assert any(caveat.startswith("Not measured: CAM, since its mean over positions") for caveat in finding.caveats)


def test_refusals(net, pics):
    segmenting = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    with pytest.raises(Unmeasurable, match="no single score for each class"):
        Faithfulness()(mt.open(segmenting, recipe={"size": 16}), red_squares())

    class Bare(nn.Module):
        num_classes = 3

        def forward(self, x):
            return x.mean((2, 3))

    with pytest.raises(Unmeasurable, match="no weights|no head"):
        Faithfulness()(mt.open(Bare(), recipe={"size": 16}, labels=["a", "b", "c"]), red_squares())
    with pytest.raises(UnknownName, match="hirescam"):
        Faithfulness(kinds="hirescams")


def test_law(net, pics, tmp_path):
    finding = testing.check(
        Faithfulness(kinds="gradcam,inputgradient", at="blocks.1", repeats=1, cascade=2, count=6), net, pics, tmp_path
    )
    assert finding.key_numbers[0].name == "gain over the best baseline"
    assert finding.facts["layer"] == "blocks.1"
