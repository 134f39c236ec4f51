"""Images in a recipe's geometry: decoded once, kept by place and kind, and left alone when the reader has stopped."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.images.feeding import PixelCache
from microtome.images.framing import frame_bands, frame_masks, frame_pixels
from microtome.specimen import Recipe

RECIPE = Recipe(size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3, crop=1.0)


@pytest.fixture
def masked() -> Any:
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    masks = torch.zeros(2, 8, 8)
    masks[1, :4] = 1
    return mt.Images.tensors(x, masks=masks).source


def test_pixels_follow_the_places_and_are_decoded_once(masked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = PixelCache()
    first = frame_pixels(masked, cache, RECIPE, [1, 0], threading.Event())
    assert first.shape == (2, 8, 8, 3) and not np.array_equal(first[0], first[1])
    monkeypatch.setattr(type(masked), "picture", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(frame_pixels(masked, cache, RECIPE, [0, 1], threading.Event()), first[::-1])


def test_nothing_is_decoded_or_kept_once_stopped(masked: Any) -> None:
    cache, stop = PixelCache(), threading.Event()
    stop.set()
    assert not frame_pixels(masked, cache, RECIPE, [0, 1], stop).any()
    assert frame_pixels(masked, cache, RECIPE, [0, 1], threading.Event()).any()


def test_masks_are_kept_apart_from_pixels_and_false_where_there_is_none(masked: Any) -> None:
    cache = PixelCache()
    frame_pixels(masked, cache, RECIPE, [0, 1], threading.Event())
    masks = frame_masks(masked, cache, RECIPE, [1, 0])
    assert masks.dtype == bool and masks[0, :4].all() and not masks[0, 4:].any() and not masks[1].any()


@pytest.mark.parametrize(("depth", "channels", "expected"), [(5, 5, 5), (1, 3, 3), (1, 1, 1)])
def test_one_band_is_repeated_for_three_channels_only(depth: int, channels: int, expected: int) -> None:
    x = torch.rand(2, depth, 8, 8, dtype=torch.float64) * 4 - 2 if depth > 1 else None
    if x is None:
        source = mt.Images.tensors(torch.full((2, 2, 8, 8), 3.5), shown=[1]).source
        source.values = lambda place: np.full((8, 8, 1), 3.5, np.float32)
        source.channels = 1
    else:
        source = mt.Images.tensors(x).source
    recipe = Recipe(size=(8, 8), mean=(0.0,) * channels, std=(1.0,) * channels, crop=1.0, channels=channels)
    numbers = frame_bands(source, PixelCache(), recipe, [0, 1], threading.Event())
    assert numbers.shape == (2, 8, 8, expected) and numbers.dtype == np.float32
    if expected == 3:
        np.testing.assert_array_equal(numbers[..., 0], numbers[..., 2])
