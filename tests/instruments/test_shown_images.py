"""Which images are shown beside maps, how they are made small, and what outputs are called."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import microtome as mt
from microtome.errors import UnknownName
from microtome.instruments.shown_images import choose_images, first_images, image_arrays, output_name


def plain(count: int, **options) -> mt.Images:
    return mt.Images.tensors(np.zeros((count, 4, 4, 3), np.uint8), **options)


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [(10, 4, [0, 3, 6, 9]), (3, 8, [0, 1, 2]), (5, 1, [0]), (1, 3, [0]), (1025, 3, [0, 512, 1024])],
)
def test_images_without_masks_are_evenly_spaced_from_first_to_last(net: mt.Specimen, total, count, places) -> None:
    found = choose_images("cam", net, plain(total), (), count)
    assert found == places if total <= 512 else (found[0], found[-1], len(found)) == (0, 1024, 3)


def test_images_asked_for_come_in_that_order_by_name_or_place(net: mt.Specimen) -> None:
    pics = mt.Images.scenes(12, size=32)
    assert choose_images("cam", net, pics, ("scene-07", "3", "scene-00"), 1) == [7, 3, 0]
    for wrong in ("12", "scene-7", "-1"):
        with pytest.raises(UnknownName, match=f"^cam: there is no image '{wrong}' among the 12"):
            choose_images("cam", net, pics, (wrong,), 1)


def test_sizes_of_objects_are_spread(net: mt.Specimen) -> None:
    sides = [14, 2, 26, 6, 3, 22, 10, 18, 4]
    masks = [np.pad(np.ones((side, side), bool), ((0, 32 - side), (0, 32 - side))) for side in sides]
    pics = mt.Images.tensors(np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8), masks=masks)
    found = [sides[place] for place in choose_images("cam", net, pics, (), 3)]
    assert len(set(found)) == 3 and min(found) <= 4 and max(found) >= 18


def test_images_without_a_mask_are_not_chosen_where_others_have_one(net: mt.Specimen, tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    for number in (1, 2):
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / f"{number}_mask.png")
    assert sorted(choose_images("cam", net, mt.Images.folder(tmp_path), (), 4)) == [1, 2]


def test_small_copies_are_means_of_equal_areas_and_a_mask_is_their_majority() -> None:
    pixels = np.zeros((1, 256, 512, 3), np.uint8)
    pixels[:, :, 2::4] = 200  # every fourth column: 128 columns of one in four
    masks = np.zeros((1, 256, 512), bool)
    masks[:, :, 1:256] = True
    found = image_arrays(pixels, masks, {"image": ["a"]})
    assert found["image"].shape == (1, 64, 128, 3)
    assert np.unique(found["image"].values).tolist() == [50]
    assert found["mask"].values[0, 0].tolist() == [True] * 64 + [False] * 64
    assert found["mask"].shape == (1, 64, 128)
    small = image_arrays(pixels[:, :100, :128], None, {"image": ["a"]})
    assert np.array_equal(small["image"].values, pixels[:, :100, :128]) and "mask" not in small


def test_outputs_are_named_by_their_first_synonym_or_their_number(net: mt.Specimen) -> None:
    named = replace(net, names=(("tench, Tinca tinca", "goldfish"), None))
    assert [output_name(named, output) for output in range(3)] == ["tench", "goldfish", "output 2"]
    assert output_name(net, 0) == "output 0"


def test_the_first_images_come_as_the_network_takes_them(net: mt.Specimen, pics: mt.Images) -> None:
    assert len(first_images(net, pics)) == 4 and len(first_images(net, pics.take([2, 0]))) == 2
    whole = net.recipe.normalise(torch.from_numpy(pics.inputs(net.recipe, range(4))))
    assert torch.equal(first_images(net, pics), whole)
