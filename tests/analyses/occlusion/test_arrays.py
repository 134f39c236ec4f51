"""Arrays of occlusion: colours of labels, extents of maps, and losses on the object by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.occlusion import arrays
from microtome.analyses.occlusion.arrays import COLOURS
from microtome.analyses.occlusion.maps import OccluderGrid, OcclusionMaps
from microtome.analyses.occlusion.occlusion import Occlusion

PLAIN = {"size": 8, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0}


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


@pytest.mark.parametrize(
    ("first", "size", "side", "edges"),
    [
        ([0, 4], 4, 8, (0, 1)),
        ([0, 2, 4, 6], 3, 8, (0.5 / 8, 7.5 / 8)),  # the last one covers 6 to 8: a position of 1 px about 7
        ([0], 5, 8, (0, 5 / 8)),
        ([0, 2, 4], 4, 8, (1 / 8, 7 / 8)),
    ],
)
def test_the_extent_centres_each_position_on_what_its_occluder_covers(first, size, side, edges):
    found = arrays._map_extent(OccluderGrid(np.array(first), np.array([0, 8]), size), (side, 16), 2)
    assert found[:, :2].tolist() == [pytest.approx(edges)] * 2
    near, far = (edge * side for edge in edges)
    covered = [(start + min(start + size, side)) / 2 for start in first]  # the middle of what each occluder covers
    step = 2 * (covered[0] - near)
    assert [near + step * (place + 0.5) for place in range(len(first) - 1)] == pytest.approx(covered[:-1])
    assert covered[-1] == pytest.approx((near + step * (len(first) - 1) + far) / 2)


def maps(probability, clean):
    """Maps of 2 x 2 positions with these probabilities; the activity follows them."""
    values = torch.tensor(probability, dtype=torch.float64)
    whole = torch.tensor(clean, dtype=torch.float64)
    label = (values < 0.5).long()
    return OcclusionMaps(values * 10, values, label, whole * 10, whole, torch.zeros(len(whole), dtype=torch.long))


@pytest.mark.parametrize("count", [19, 20])
def test_losses_on_the_object_with_an_interval_from_twenty_images_on(net, count):
    """The object is the upper left quarter, which costs 0.4 and 0.2 in turn; elsewhere nothing, in the twin 0.1 everywhere."""
    lost = [0.4 if place % 2 == 0 else 0.2 for place in range(count)]
    other = [0.02 + 0.001 * place for place in range(count)]  # a little elsewhere, so that no two images are the same
    own = maps([[[0.9 - one, 0.9 - more], [0.9, 0.9]] for one, more in zip(lost, other, strict=True)], [0.9] * count)
    null = maps([[[0.4, 0.4], [0.4, 0.4]]] * count, [0.5] * count)
    masks = np.zeros((count, 8, 8), bool)
    masks[:, :4, :4] = True
    places = OccluderGrid(np.array([0, 4]), np.array([0, 4]), 4)
    images = mt.Images.tensors(np.zeros((count, 8, 8, 3), np.uint8))
    found = arrays.occlusion_arrays(own, null, places, masks, net, images, np.zeros((count, 8, 8, 3), np.uint8), 2, "")
    inside = found["inside"].sel(measure="probability").item()
    assert inside == pytest.approx(np.mean(lost)) and found["outside"].sel(measure="probability").item() == pytest.approx(
        np.mean(other) / 3
    )
    assert found["twin_inside"].sel(measure="probability").item() == pytest.approx(0.1)
    lift = found["lift"].sel(measure="probability").item()
    assert lift == pytest.approx(np.mean(np.divide(lost, np.add(lost, other))) - 0.25)
    assert np.isnan(found["lift_low"].sel(measure="probability").item()) == (count < 20)
    for name in ("twin_lift", "twin_lift_low", "twin_lift_high"):  # an even loss has no lift, in either twin
        assert found[name].values.tolist() == pytest.approx([0, 0])
    verdict = "no verdict" if count < 20 else "above all twins"
    assert found["lift_against_twins"].values.tolist() == [verdict] * 2
    assert found["known"].values.tolist() == [count, count]
    assert found["changed"].values.tolist() == [0.0 if one < 0.4 else 0.0 if 0.9 - one >= 0.5 else 0.25 for one in lost]
    assert found["lowest"].values.tolist() == pytest.approx([0.9 - one for one in lost])
    assert np.isnan(found["twin_correlation"].values).all()  # the twin's map is constant
    assert found["last_side"].values.tolist() == [4, 4]


def test_each_twin_answers_for_its_own_images_in_turn(net):
    """Twins that lose all on and all off the object: lifts of 0.75 and -0.25, and a network between them is within their range."""
    count, masks = 20, np.zeros((20, 8, 8), bool)
    masks[:, :4, :4] = True
    lost = 0.2 + 0.01 * np.arange(count)
    own = maps([[[0.9 - each, 0.9 - each], [0.9, 0.9]] for each in lost], [0.9] * count)
    null = maps(
        [[[0.1, 0.5], [0.5, 0.5]] if place % 2 == 0 else [[0.5, 0.1], [0.5, 0.5]] for place in range(count)], [0.5] * count
    )
    places = OccluderGrid(np.array([0, 4]), np.array([0, 4]), 4)
    images, pixels = mt.Images.tensors(np.zeros((count, 8, 8, 3), np.uint8)), np.zeros((count, 8, 8, 3), np.uint8)
    found = arrays.occlusion_arrays(own, null, places, masks, net, images, pixels, 2, "")
    ends = [found[f"twin_lift{end}"].sel(measure="probability").item() for end in ("_low", "", "_high")]
    assert ends == pytest.approx([-0.25, 0.25, 0.75])
    assert found["lift_against_twins"].sel(measure="probability").item() == "no verdict"  # twenty equal lifts have no interval
    withheld = arrays.occlusion_arrays(own, null, places, masks, net, images, pixels, 2, "trained")
    assert withheld["lift_against_twins"].values.tolist() == ["no verdict"] * 2
