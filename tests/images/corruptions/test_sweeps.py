"""Sweeps: the amount that changes nothing, contrast and brightness by hand, an image that shrinks on its mean colour."""

import numpy as np
import pytest

from corrupted_photographs import photographs
from microtome.errors import UnknownName
from microtome.images.corruptions.sweeps import ON_INPUT, SWEEPS, sweep_pixels

IMAGES = photographs(2)


@pytest.mark.parametrize("name", [name for name in SWEEPS if name not in ON_INPUT])
def test_the_neutral_amount_changes_nothing(name: str) -> None:
    assert (sweep_pixels(IMAGES, name, SWEEPS[name][0]) == IMAGES).all()


def test_contrast_and_brightness_by_hand() -> None:
    means = IMAGES.mean((1, 2, 3), keepdims=True)
    expected = np.clip(means + 2.0 * (IMAGES - means), 0, 255)
    assert np.abs(sweep_pixels(IMAGES, "contrast", 2.0) - expected).max() <= 0.51
    assert np.abs(sweep_pixels(IMAGES, "brightness", 0.25) - np.clip(IMAGES + 63.75, 0, 255)).max() <= 0.51


def test_a_smaller_image_lies_in_the_middle_of_its_mean_colour() -> None:
    found = sweep_pixels(IMAGES, "size", 0.5)
    middle = found[:, 11:33, 15:45]
    assert found.shape == IMAGES.shape
    assert np.abs(found[:, 0, 0] - IMAGES.mean((1, 2))).max() <= 0.51
    assert np.abs(middle.mean((1, 2)) - IMAGES.mean((1, 2))).max() < 2.0
    assert (found[:, :11] == found[:, :1, :1]).all()


def test_what_is_no_sweep_of_pixels() -> None:
    with pytest.raises(UnknownName, match="no sweep 'contrst' of pixels.*'contrast'"):
        sweep_pixels(IMAGES, "contrst", 1.0)
