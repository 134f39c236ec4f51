"""The images shown: the first one under every corruption, and under sweeps of pixels alone."""

import numpy as np

import microtome as mt
from microtome.analyses.robustness.conditions import list_conditions
from microtome.analyses.robustness.examples import SIDE, example_images


def test_tiles(net: mt.Specimen) -> None:
    images = mt.Images.scenes(3, seed=1, size=32)
    found = example_images(net, images, list_conditions(["fog", "contrast"], [1, 5], ["size", "colour_scale"]), 0)
    assert set(found) == {"pictures", "pictures/size"}
    assert found["pictures"].shape == (2, 2, 32, 32, 3) and found["pictures"].dtype == np.uint8
    neutral = found["pictures/size"].sel(amount=1.0).values
    assert (neutral == images.pixels(net.recipe, [0])[0]).all()


def test_large_images_are_made_small() -> None:
    wide = mt.open("microtome:mini_resnet", weights=None, recipe={"size": (50, 200)})
    found = example_images(wide, mt.Images.scenes(1, size=64), list_conditions(["fog"], [1], []), 0)
    assert found["pictures"].shape[2:] == (24, SIDE, 3)
    assert example_images(wide, mt.Images.scenes(1, size=64), list_conditions([], [1], ["colour_scale"]), 0) == {}
