"""Images in bands: how they are scaled, turned, chosen and shown; held over drawn arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drawn_bands import NUMBERS, SMALL
from microtome.errors import BadOption, ImagesError
from microtome.images import Images
from microtome.images.bands import arrange_axes, display_bands, scale_bands, shown_bands
from microtome.specimen.recipe import Recipe


def plain(size: int, channels: int) -> Recipe:
    return Recipe.of({"size": size, "channels": channels, "mean": 0.0, "std": 1.0, "crop": 1.0})


@SMALL
@given(NUMBERS)
def test_scale_is_by_the_type_alone(values: np.ndarray) -> None:
    most = {"uint8": 255.0, "uint16": 65535.0}.get(values.dtype.name, 1.0)
    assert np.allclose(scale_bands(values), values.astype(np.float64) / most, rtol=1e-6)


@SMALL
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_the_first_axis_is_the_channels_only_where_it_is_shorter_than_the_last(first: int, middle: int, last: int) -> None:
    values = np.arange(first * middle * last).reshape(first, middle, last)
    turned, note = arrange_axes(values)
    if first < last:
        assert np.array_equal(turned, np.moveaxis(values, 0, 2))
        assert "(channel, row, column)" in note
    else:
        assert turned is values
        assert not note


def test_files_of_another_number_of_channels_are_skipped(tmp_path: Path) -> None:
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros((6, 6, 5)))
    np.save(tmp_path / "d.npy", np.zeros((6, 6, 4)))
    Image.new("RGB", (6, 6)).save(tmp_path / "e.png")
    images = Images.folder(tmp_path)
    assert images.channels == 5
    assert images.names == ("a.npy", "b.npy", "c.npy")
    assert {file.path: file.reason for file in images.skipped} == {
        "d.npy": "4 channels, where most files here are of 5 channels",
        "e.png": "ordinary images, where most files here are of 5 channels",
    }
    assert "figures show bands 1, 2 and 3 as red, green and blue" in images.notes[-1]


def test_bands_are_chosen_put_in_order_and_shown(tmp_path: Path) -> None:
    values = np.stack([np.full((6, 6), 10 * band, np.uint8) for band in range(5)], axis=2)
    np.save(tmp_path / "a.npy", values)
    every = Images.folder(tmp_path)
    some = Images.folder(tmp_path, bands=(5, 2), shown=(2,))
    assert some.channels == 2
    assert np.allclose(some.inputs(plain(6, 2))[0, 0, 0], [40 / 255, 10 / 255])
    assert np.array(some[0].picture)[0, 0].tolist() == [10, 10, 10]
    assert np.array(every[0].picture)[0, 0].tolist() == [0, 10, 20]
    assert every.digest() != some.digest() != Images.folder(tmp_path, bands=(5, 2)).digest()
    with pytest.raises(BadOption, match="bands names band 6; these images have 5"):
        Images.folder(tmp_path, bands=(6,))
    with pytest.raises(BadOption, match="shown names 2 bands; it takes 1 or 3"):
        Images.folder(tmp_path, shown=(1, 2))


def test_bands_of_ordinary_images_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (6, 6)).save(tmp_path / "e.png")
    with pytest.raises(BadOption, match="ordinary image"):
        Images.folder(tmp_path, bands=(1, 2))


def test_networks_of_another_number_of_channels_are_refused_in_a_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 6, 5)))
    images = Images.folder(tmp_path)
    with pytest.raises(ImagesError, match=r"takes 3 channels and .* holds images of 5; choose .*bands=\(1,2,3\)"):
        images.inputs(plain(6, 3))
    with pytest.raises(ImagesError, match=r"takes 7 channels .* of 5; give .npy.*in_chans=5"):
        images.inputs(plain(6, 7))
    rgb = Images.tensors(torch.rand(2, 3, 6, 6))
    assert rgb.misfit(1) == rgb.misfit(3) == ""
    with pytest.raises(ImagesError, match="takes 5 channels"):
        next(rgb.batches(plain(6, 5), 2))


def test_one_channel_and_three_go_together(tmp_path: Path) -> None:
    grey = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)
    np.save(tmp_path / "a.npy", grey)
    images = Images.folder(tmp_path)
    assert np.allclose(images.inputs(plain(6, 1))[0, ..., 0], grey)
    assert np.allclose(images.inputs(plain(6, 3)), np.repeat(images.inputs(plain(6, 1)), 3, axis=3))
    np.save(tmp_path / "a.npy", np.stack([grey, 0 * grey, 0 * grey], axis=2))
    red = Images.folder(tmp_path)
    assert torch.allclose(
        plain(6, 1).normalise(torch.from_numpy(red.inputs(plain(6, 1))))[0, 0], torch.from_numpy(0.299 * grey), atol=1e-6
    )


@SMALL
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_tensors_of_any_number_of_channels_reach_the_network_unchanged(channels: int, seed: int) -> None:
    x = torch.rand(3, channels, 9, 9, generator=torch.Generator().manual_seed(seed))
    images = Images.tensors(x)
    recipe = Recipe.of({"size": 9, "channels": channels, "mean": 0.25, "std": 0.5, "crop": 1.0})
    (batch,) = images.batches(recipe, 3)
    made = recipe.normalise(torch.from_numpy(batch.inputs))
    assert torch.allclose(made, (x - 0.25) / 0.5, atol=1e-6 if channels not in (1, 3) else 1 / 255)
    assert batch.pixels.shape == (3, 9, 9, 3)


@SMALL
@given(st.integers(1, 7), st.integers(5, 20), st.integers(5, 20), st.integers(4, 8))
def test_bands_have_the_geometry_of_images(channels: int, rows: int, cols: int, side: int) -> None:
    level = np.random.default_rng(rows * cols).integers(0, 256, (rows, cols), np.uint8)
    recipe = Recipe.of({"size": side, "channels": channels, "crop": 0.9})
    pixels = recipe.pixels(Image.fromarray(level))[..., 0]
    bands = recipe.bands(np.repeat(level[..., None], channels, axis=2).astype(np.float32))
    assert np.abs(bands - pixels[..., None]).max() <= 1.01  # the image is rounded twice


def test_what_is_not_8_bit_is_stretched_for_the_eye_alone() -> None:
    values = np.linspace(-5, 900, 400).reshape(20, 20, 1)
    levels = np.array(display_bands(values, shown_bands(1, None)))[..., 0]
    assert levels.min() == 0
    assert levels.max() == 255
    assert (levels == 0).sum() == (levels == 255).sum() == 5  # one per cent at either end, and what rounds to it
