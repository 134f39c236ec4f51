"""Key numbers, headline and caveats of occlusion, from findings of networks and from one made by hand."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.occlusion.occlusion import Occlusion
from microtome.analyses.occlusion.wording import list_caveats, list_key_numbers, write_headline
from microtome.finding import Finding, array


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


def test_maps_of_next_to_nothing_are_said(net, pics):
    quiet = mt.open(copy.deepcopy(net.net), recipe=net.recipe)
    with torch.no_grad():
        quiet.net.head.weight.mul_(1e-4)
    found = Occlusion(count=2, size=16)(quiet, pics)
    assert any("In 2 of 2 images no position costs 1 point" in one for one in found.caveats)
    loud = Occlusion(count=2, size=12)(mt.open("microtome:mini_inception"), mt.Images.scenes(8, seed=3))
    all_cost = bool((loud["clean_probability"] - loud["lowest"] >= 0.01).all())
    assert all_cost != any("no position costs" in one for one in loud.caveats)


def by_hand(against="above all twins", masks=True, known=24, **facts):
    """Two images of 2 x 2 positions; the first loses 0.5 at worst, the second 0.3, the twin 0.1."""
    measures = {"measure": ["activity", "probability"]}
    lost = np.zeros((2, 2, 2, 2))
    lost[0, 1, 0, 0], lost[1, 1, 1, 1] = 0.5, 0.3
    dims, targets = ("image", "measure", "row", "col"), np.array(["label", "predicted"], dtype=object)
    arrays = {
        "lost": array(lost, dims, "fraction", measures), "twin_lost": array(np.full((2, 2, 2, 2), 0.1), dims, "fraction", measures),
        "changed": array([0.25, 0.75], ("image",), "fraction"), "twin_changed": array([0.0, 0.1], ("image",), "fraction"),
        "twin_correlation": array([0.9, 0.2], ("measure",), "1", measures),
        "image": array(np.zeros((2, 2, 2, 3)), ("image", "row", "col", "rgb"), "1"),
        "last_side": array([4, 3], ("axis",), "px"), "target_from": array(targets, ("image",), "text"),
        "clean_probability": array([0.9, 0.305], ("image",), "1"), "lowest": array([0.4, 0.3], ("image",), "1"),
    }  # fmt: skip
    if masks:
        for name, value in {"inside": 0.4, "outside": 0.05, "twin_inside": 0.1, "twin_outside": 0.1, "lift": 0.3, "lift_low": 0.1,
                            "lift_high": 0.5, "twin_lift": 0.02}.items():  # fmt: skip
            arrays[name] = array([0.0, value], ("measure",), "fraction", measures)
        arrays["lift_against_twins"] = array(np.array(["no verdict", against], dtype=object), ("measure",), "text", measures)
    arrays["known"] = array([0, known], ("measure",), "images", measures)
    told = {"side_px": 4, "stride_px": 4, "labels": "by class name", "twins": 2} | facts
    origin = {"specimen": {"name": "n", "trained": True}, "facts": told, "options": {"colour": "grey"}}
    return replace(Finding(analysis="occlusion", arrays=arrays, origin=origin), key_numbers=())


def test_numbers_are_in_points_and_of_the_median_image():
    finding = by_hand()
    numbers = {one.name: one for one in list_key_numbers(finding)}
    assert len(numbers) == 6  # at most; the images are left out
    assert (numbers["probability lost on the object"].value, numbers["probability lost on the object"].baseline) == (40, 10)
    lift, largest = numbers["localisation lift"], numbers["largest loss of probability"]
    assert (lift.value, lift.low, lift.high, lift.baseline) == (30, 10, 50, 2)
    assert (
        lift.baseline_name == "untrained twins" and list_key_numbers(by_hand(twins=1))[0].baseline_name == "one untrained twin"
    )
    assert (largest.value, largest.baseline) == pytest.approx((40, 10))
    assert numbers["positions where the label changes"].value == 0.5
    assert numbers["rank correlation with random weights"].value == 0.2
    bare = list_key_numbers(by_hand(masks=False))
    assert [one.name for one in bare][0] == "largest loss of probability" and bare[-1].value == 2
    headline = write_headline(replace(finding, key_numbers=tuple(numbers.values())))
    assert headline.startswith("Occluding the object costs 40 points of class probability (untrained twins 10")


@pytest.mark.parametrize(
    ("finding", "said", "there"),
    [
        (by_hand(), "The last occluder is cut by the edge of the image: it covers 4 px down and 3 px across", True),
        (by_hand(side_px=3), "is cut by the edge", False),
        (by_hand(), "In 1 of 2 images the target is the predicted class.", True),
        (by_hand(), "In 1 of 2 images no position costs 1 point", True),
        (by_hand(labels="by order: output 0"), "Outputs were matched to classes by order", True),
        (by_hand(), "Outputs were matched", False),
        (by_hand(), "localisation lift", False),
        (by_hand("no verdict"), "localisation lift", False),
        (by_hand("within the twins' range"), "The localisation lift is within the twins' range: it is not shown", True),
        (by_hand("below all twins"), "The localisation lift is below all twins", True),
        (by_hand("within the twins' range", known=19), "The localisation lift", False),
        (by_hand(known=19), "Fewer than 20 images with masks", True),
    ],
)
def test_caveats_are_said_where_they_hold(finding, said, there):
    assert any(said in one for one in list_caveats(finding)) == there
