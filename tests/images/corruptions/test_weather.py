"""Weather: brightness in HSV by colorsys; fog, snow, frost and spatter by what they may and may not do."""

import colorsys

import numpy as np
import pytest
import torch

from corrupted_photographs import photographs
from microtome.images.corruptions.weather import FROST_MEAN, MUD, brightness, fog, frost, snow, spatter

PHOTOS = photographs(1)
X = torch.from_numpy(PHOTOS).permute(0, 3, 1, 2).float() / 255
BLACK, GREY = torch.zeros(1, 3, 96, 96), torch.full((1, 3, 96, 96), 0.5)


def draws(seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng(seed)]


def test_brightness_in_hsv() -> None:
    expected = np.empty_like(PHOTOS[0], dtype=float)
    for row, col in np.ndindex(PHOTOS.shape[1:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(PHOTOS[0, row, col] / 255))
        expected[row, col] = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.3, 1))
    assert brightness(X, 3, [])[0].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-5)


def test_fog_lies_before_the_image_and_keeps_its_brightest_value() -> None:
    found = fog(X, 2, draws())
    assert found.max() <= X.max() + 1e-6
    assert found.std() < X.std()
    assert (fog(BLACK, 5, draws()) == 0).all()  # the brightest value is black


def test_snow_is_brighter_and_the_same_upside_down() -> None:
    paler = snow(GREY, 3, draws())
    assert (paler >= 0.5).all() and paler.amax() > 1
    flakes = paler - paler.amin()
    assert torch.allclose(flakes, flakes.flip(2, 3), atol=1e-5)  # flakes and flakes turned by 180 degrees, added


def test_frost_has_the_mean_colour_of_frost() -> None:
    found = frost(BLACK, 2, draws())
    assert found.mean((0, 2, 3)).numpy() == pytest.approx(0.6 * np.array(FROST_MEAN), abs=0.02)
    assert found.std() > 0.03
    assert torch.allclose(frost(GREY, 2, draws()), found + 0.4, atol=1e-5)


def test_mud_covers_and_water_brightens() -> None:
    muddy = spatter(GREY, 5, draws())
    covered = (muddy - torch.tensor(MUD).view(1, 3, 1, 1)).abs().amax(1) < 0.02
    clean = (muddy - GREY).abs().amax(1) < 1e-6
    assert 0.02 < covered.float().mean() < 0.6 and clean.float().mean() > 0.2
    wet = spatter(GREY, 3, draws())
    assert (wet >= GREY - 1e-6).all() and (wet > GREY + 0.1).any() and (wet == GREY).all(1).any()
    assert torch.isfinite(spatter(GREY[:, :, :1, :1], 1, draws())).all()  # one drop or none: no rim
