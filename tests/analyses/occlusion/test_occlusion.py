"""Occlusion: numbers by hand on a network that adds pixels up, captum's and a plain loop's maps, the laws."""

import copy

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Captums
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.occlusion.arrays import COLOURS
from microtome.analyses.occlusion.occlusion import Occlusion
from microtome.errors import BadOption, Unmeasurable
from microtome.numerics.maps.occluders import blur

PLAIN = {"size": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}
GREY = 128 / 255


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
    assert any("The last occluder is cut by the edge of the image (2 px down, 2 px across)" in text for text in found.caveats)


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


def test_the_legend_names_every_colour_of_the_label_maps(net, pics):
    found = Occlusion(size=16, stride=8, count=3)(net, pics)
    shades = {name: COLOURS[name] for name in found["legend_colour"].values}
    names = {shades[colour]: text for colour, text in zip(found["legend_colour"].values, found["legend"].values, strict=True)}
    for place in np.ndindex(*found["label"].shape):
        assert names[tuple(found["label_colour"].values[place])] == f"output {int(found['label'].values[place])}"
    assert float(found["legend_share"].sum()) == pytest.approx(1)


def test_more_labels_than_colours_are_gathered():
    """100 outputs that follow the brightness of one pixel each: every position has a label of its own."""

    class Each(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool2d(2)

        def forward(self, x):
            return -self.pool(x)[:, 0].flatten(1)  # the darkest cell wins

    net = mt.open(Each(), recipe=PLAIN, labels=[f"cell {i}" for i in range(16)])
    bright = mt.Images.tensors(torch.ones(1, 3, 8, 8))
    found = Occlusion(at="pool", size=2, stride=2)(net, bright)
    assert found["label"].values[0].reshape(-1).tolist() == list(range(16))
    assert found["legend"].values[-1] == "7 others" and found["legend_colour"].values[-1] == "light grey"
    assert float(found["changed"][0]) == pytest.approx(15 / 16)  # uncovered, the first of equals wins


def test_unlabelled_images_are_asked_about_the_predicted_class_and_it_is_said(net):
    bare = mt.Images.scenes(3, size=32)
    found = Occlusion(count=2, size=16)(net, bare.take([0, 1]))
    named = mt.open(net.net, recipe=net.recipe, labels=list(bare.classes))
    labelled = Occlusion(count=2, size=16)(named, bare.take([0, 1]))
    assert set(labelled["target_from"].values) == {"label"}
    assert labelled["target"].values.tolist() == [bare.classes[bare.labels[i]] for i in range(2)]
    guessed = Occlusion(count=2, size=16, target="predicted")(named, bare.take([0, 1]))
    assert guessed["target"].values.tolist() == guessed["clean_label"].values.tolist()
    assert any("In 2 of 2 images the target is the predicted class" in one for one in guessed.caveats)
    assert not any("the predicted class" in one for one in labelled.caveats)
    assert found["target_from"].values.tolist() == ["label"] * 2  # ten outputs for ten classes: matched by order
    assert found["target"].values.tolist() == [f"output {bare.labels[i]}" for i in range(2)]


def test_bad_input_is_refused(net, pics):
    with pytest.raises(BadOption, match="size is 40 px, but the network sees 32 x 32 px"):
        Occlusion(size=40)(net, pics)
    with pytest.raises(Unmeasurable, match="has rows and columns"):
        Occlusion(at="head")(net, pics)


def test_law(net, pics, tmp_path):
    found = testing.check(Occlusion(count=3, size=8), net, pics, tmp_path)
    assert found["activity"].dims == found["probability"].dims == found["label"].dims == ("image", "row", "col")
    assert any("illustration" in one for one in found.caveats)
    many = Occlusion(count=10, size=16, stride=16)(net, pics)
    assert not np.isnan(float(many["gain_low"].sel(measure="activity")))


def test_a_trained_network_loses_more_on_the_object_than_its_twin():
    found = Occlusion(count=12, size=12)(mt.open("microtome:mini_inception"), mt.Images.scenes(20, seed=3))
    assert float(found["inside"].sel(measure="probability")) > 3 * float(found["outside"].sel(measure="probability"))
    assert float(found["gain_low"].sel(measure="probability")) > 0
    assert abs(float(found["twin_inside"].sel(measure="probability"))) < 0.02


def test_maps_of_next_to_nothing_are_said(net, pics):
    quiet = mt.open(copy.deepcopy(net.net), recipe=net.recipe)
    with torch.no_grad():
        quiet.net.head.weight.mul_(1e-4)
    found = Occlusion(count=2, size=16)(quiet, pics)
    assert any("In 2 of 2 images no position costs 1 point" in one for one in found.caveats)
    loud = Occlusion(count=2, size=12)(mt.open("microtome:mini_inception"), mt.Images.scenes(8, seed=3))
    all_cost = bool((loud["clean_probability"] - loud["lowest"] >= 0.01).all())
    assert all_cost != any("no position costs" in one for one in loud.caveats)
