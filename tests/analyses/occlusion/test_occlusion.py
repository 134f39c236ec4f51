"""Occlusion: numbers by hand on a network that adds pixels up, captum's and a plain loop's maps, the laws."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Captums
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.occlusion.occlusion import Occlusion
from microtome.errors import BadOption, Unmeasurable
from microtome.numerics.maps.occluders import blur
from microtome.panels import Overlay
from microtome.scan import Pace

GREY = 128 / 255

PLAIN = {"size": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


class Sums(nn.Module):
    """Two maps, red and half of green; class 0 speaks for red, class 1 for green."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0.5, 0]])[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[8.0, 0], [0, 8]]))
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


def red_corner(rows=8, cols=8):
    """One image: a red square of 4 px in the upper left corner, dim green all over."""
    x = torch.zeros(1, 3, rows, cols)
    x[0, 0, :4, :4] = 1
    x[0, 1] = 51 / 255
    return x


def test_by_hand():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :4] = True
    pics = mt.Images.tensors(red_corner(), labels=[0], classes=["red", "green"], masks=mask)
    found = Occlusion(at="conv", size=4, stride=4)(mt.open(Sums(), recipe=PLAIN, labels=["red", "green"]), pics)
    red = np.array([[16 * GREY, 16 + 16 * GREY], [16 + 16 * GREY, 16 + 16 * GREY]])  # red (16) is stronger than green (6.4)
    assert found["activity"].values[0] == pytest.approx(red, abs=1e-4)
    green = 0.5 * (48 * 0.2 + 16 * GREY)
    chance = 1 / (1 + np.exp(-8 * (red - green) / 64))
    assert found["probability"].values[0] == pytest.approx(chance, abs=1e-5)
    assert found["label"].values[0].tolist() == (red < green).astype(int).tolist()
    assert float(found["inside"].sel(measure="activity")) == pytest.approx(1 - GREY, abs=1e-5)
    assert float(found["outside"].sel(measure="activity")) == pytest.approx(-GREY, abs=1e-5)
    assert float(found["lift"].sel(measure="activity")) == pytest.approx(0.75)
    assert found["activity"].coords["row"].values.tolist() == [1.5, 5.5]
    assert not any("cut by the edge of the image" in text for text in found.caveats)
    assert found["extent"].values[0] == pytest.approx([0, 1, 0, 1])
    assert (found.facts["side_px"], found.facts["stride_px"], found.facts["layer"]) == (4, 4, "conv")
    clean = 1 / (1 + np.exp(-8 * (16 - 6.4) / 64))  # red 16, half of green 6.4, of 64 px
    inside = found.key("probability lost on the object")
    assert inside.value == pytest.approx(100 * (clean - chance[0, 0]), abs=1e-3)
    assert inside.baseline == pytest.approx(100 * float(found["twin_inside"].sel(measure="probability")))
    outside = (3 * clean - chance[0, 1] - chance[1, 0] - chance[1, 1]) / 3
    assert found.key("probability lost elsewhere").value == pytest.approx(100 * outside, abs=1e-3)
    assert found.key("positions where the label changes").value == 0.25


def test_a_square_that_is_cut_has_its_own_centre():
    """8 px, squares of 3 and a stride of 2: 0, 2, 4, and 6 with two pixels left, centred on 6.5 and not on 7."""
    pics = mt.Images.tensors(red_corner(), labels=[0], classes=["red", "green"])
    found = Occlusion(at="conv", size=3, stride=2)(mt.open(Sums(), recipe=PLAIN, labels=["red", "green"]), pics)
    assert found["lost"].coords["row"].values.tolist() == [1.0, 3.0, 5.0, 6.5]
    assert found["lost"].coords["col"].values.tolist() == [1.0, 3.0, 5.0, 6.5]
    assert found["last_side"].values.tolist() == [2, 2]
    assert any("cut by the edge of the image: it covers 2 px down and 2 px across" in text for text in found.caveats)


def test_the_overlay_draws_a_cut_square_cut():
    """Stride 2: whole squares take 2 px about their centres 1.5, 3.5 and 5.5 (edges counted), the cut one 1 px about 7: half a px is left
    at either side."""
    pics = mt.Images.tensors(red_corner(), labels=[0], classes=["red", "green"])
    found = Occlusion(at="conv", size=3, stride=2)(mt.open(Sums(), recipe=PLAIN, labels=["red", "green"]), pics)
    lost, drawn = found["lost"].values, found["covered"].values
    assert found["extent"].values[0] == pytest.approx([0.5 / 8, 7.5 / 8, 0.5 / 8, 7.5 / 8])
    assert drawn.shape[-2:] == (7, 7)
    for px in range(7):
        assert np.array_equal(drawn[..., px, :][..., [0, 2, 4, 6]], lost[..., px // 2, :])
    overlays = [panel for panel in found.panels if isinstance(panel, Overlay)]
    assert [panel.heat for panel in overlays] == ["covered", "twin_covered"]
    whole = Occlusion(at="conv", size=4, stride=4)(mt.open(Sums(), recipe=PLAIN, labels=["red", "green"]), pics)
    assert "covered" not in whole


@torch.no_grad()
@pytest.mark.parametrize("colour", ["grey", "mean", "blur"])
def test_every_position_is_what_a_plain_loop_gives(net, pics, colour):
    found = Occlusion(at="blocks.1", size=7, stride=6, colour=colour, count=2, target="predicted")(net, pics)
    places = [pics.names.index(name) for name in found["image"].coords["image"].values]
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, places)))
    side = x.shape[2]
    for i in range(2):
        target = int(net.net(x[i : i + 1]).argmax())
        for r, c in [(0, 0), (1, 2), (found["label"].sizes["row"] - 1,) * 2]:
            one = x[i : i + 1].clone()
            rows, cols = slice(6 * r, min(6 * r + 7, side)), slice(6 * c, min(6 * c + 7, side))
            if colour == "mean":
                one[:, :, rows, cols] = x[i].mean((1, 2))[None, :, None, None]
            elif colour == "grey":
                one[:, :, rows, cols] = net.recipe.normalise(torch.full((1, 1, 1, 3), 128, dtype=torch.uint8))
            else:
                one[:, :, rows, cols] = blur(x[i : i + 1], 7 / 3)[:, :, rows, cols]
            scores = net.net(one)[0]
            assert float(found["probability"][i, r, c]) == pytest.approx(float(scores.softmax(0)[target]), abs=1e-5)
            assert int(found["label"][i, r, c]) == int(scores.argmax())


def test_equals_captum_where_squares_do_not_overlap(net, pics):
    found = Occlusion(size=8, stride=8, count=1, only="3", target="predicted")(net, pics)
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, [3])))
    grey = net.recipe.normalise(torch.full((1, *x.shape[2:], 3), 128, dtype=torch.uint8))
    target = int(net.net(x).argmax())
    oracle = Captums(lambda one: net.net(one).softmax(1))
    drop = oracle.attribute(x, (3, 8, 8), (3, 8, 8), baselines=grey, target=target, perturbations_per_eval=4)
    ours = found["lost"].sel(measure="probability").values[0]
    assert np.abs(ours).max() > 0
    assert ours == pytest.approx(drop[0, 0, ::8, ::8].detach().numpy(), abs=1e-5)


def test_bad_input_is_refused(net, pics):
    with pytest.raises(BadOption, match="size is 40 px, but the network sees 32 x 32 px"):
        Occlusion(size=40)(net, pics)
    with pytest.raises(Unmeasurable, match="has rows and columns"):
        Occlusion(at="head")(net, pics)


def test_law(net, pics, tmp_path):
    found = testing.check(Occlusion(count=3, size=8), net, pics, tmp_path)
    assert found["activity"].dims == found["probability"].dims == found["label"].dims == ("image", "row", "col")
    assert any("illustration" in one for one in found.caveats)
    many = Occlusion(count=20, size=16, stride=16)(net, pics)
    assert not np.isnan(float(many["lift_low"].sel(measure="activity")))


def test_a_trained_network_loses_more_on_the_object_than_its_twin():
    found = Occlusion(count=24, size=12)(mt.open("microtome:mini_inception"), mt.Images.scenes(40, seed=3))
    assert float(found["inside"].sel(measure="probability")) > 3 * float(found["outside"].sel(measure="probability"))
    assert found["lift_against_twins"].sel(measure="probability").item() == "above all twins"
    assert found.facts["twins"] == 5
    assert abs(float(found["twin_inside"].sel(measure="probability"))) < 0.02


def test_each_image_is_shown_to_one_twin_in_turn(net, pics):
    """Three images in batches of two, two twins: the maps of the twins are those of each of them alone."""
    two = net.with_twins(2)
    options = {"count": 3, "size": 16, "only": ("1", "2", "3"), "target": "predicted"}
    found = Occlusion(**options)(two, pics, Pace(batch=2, device="cpu"), twins=2)
    for place, seed in enumerate((1, 2, 1)):
        twin = two.working_twin(pics, seed)
        x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe, [place + 1])))
        target = int(net.net(x).argmax())
        covered = x.clone()
        covered[:, :, :16, :16] = net.recipe.normalise(torch.full((1, 1, 1, 3), 128, dtype=torch.uint8))
        lost = (twin.net(x).softmax(1) - twin.net(covered).softmax(1))[0, target].item()
        assert float(found["twin_lost"].sel(measure="probability")[place, 0, 0]) == pytest.approx(lost, abs=1e-6)
