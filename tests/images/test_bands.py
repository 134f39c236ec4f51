"""Images in bands: what is read, how it is scaled, turned and shown; held over drawn arrays and TIFF files written here byte by byte."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from microtome.errors import BadOption, ImagesError
from microtome.images import Images
from microtome.images.bands import arrange_axes, display_bands, scale_bands, shown_bands
from microtome.images.tiff_bands import describe_bands, read_bands
from microtome.specimen.recipe import Recipe

SMALL = settings(max_examples=25, deadline=None)
KINDS = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64])
NUMBERS = KINDS.flatmap(
    lambda kind: st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 7)).flatmap(
        lambda shape: arrays(
            kind,
            shape,
            elements=st.integers(0, 255) if np.dtype(kind).kind in "ui" else st.floats(-1e3, 1e3, width=32, allow_nan=False),
        )
    )
)


def plain(size: int, channels: int) -> Recipe:
    return Recipe.of({"size": size, "channels": channels, "mean": 0.0, "std": 1.0, "crop": 1.0})


def write_tiff(
    path: Path, values: np.ndarray, *, order: str, rows_per_strip: int, apart: bool, deflate: bool, predictor: int, tile: int
) -> None:
    """A baseline TIFF of bands: strips or tiles, bands side by side or apart, plain or deflated."""
    rows, cols, bands = values.shape
    kind = values.dtype.newbyteorder(order)
    tall, wide = (tile, tile) if tile else (rows_per_strip, cols)
    chunks: list[bytes] = []
    for plane in [values[..., [at]] for at in range(bands)] if apart else [values]:
        for top in range(0, rows, tall):
            for left in range(0, cols, wide):
                part = plane[top : top + tall, left : left + wide]
                if tile:
                    part = np.pad(part, ((0, tall - part.shape[0]), (0, wide - part.shape[1]), (0, 0)))
                if predictor == 2:
                    whole = part.view(f"u{part.itemsize}")
                    part = np.diff(whole, axis=1, prepend=whole[:, :1] * 0).astype(whole.dtype).view(part.dtype)
                data = part.astype(kind).tobytes()
                chunks.append(zlib.compress(data) if deflate else data)
    letters = {"u": 1, "i": 2, "f": 3}
    tags: list[tuple[int, int, list[int]]] = [
        (256, 4, [cols]), (257, 4, [rows]), (258, 3, [8 * values.itemsize] * bands), (259, 3, [8 if deflate else 1]),
        (262, 3, [1]), (277, 3, [bands]), (284, 3, [2 if apart else 1]), (317, 3, [predictor]), (338, 3, [0] * (bands - 1)),
        (339, 3, [letters[values.dtype.kind]] * bands),
    ]  # fmt: skip
    tags += [(322, 4, [wide]), (323, 4, [tall])] if tile else [(278, 4, [rows_per_strip])]
    count = [0] * len(chunks)
    places = [(324, 4, count), (325, 4, count)] if tile else [(273, 4, count), (279, 4, count)]
    entries = sorted(tags + places)
    code = {3: "H", 4: "I"}
    further = 8 + 2 + 12 * len(entries) + 4
    sizes = [struct.calcsize(order + code[sort] * len(numbers)) for _, sort, numbers in entries]
    length = further + sum(size + -size % 4 for size in sizes if size > 4)
    starts = np.cumsum([length, *map(len, chunks)])[:-1].tolist()
    known = {273: starts, 324: starts, 279: list(map(len, chunks)), 325: list(map(len, chunks))}
    head, tail = struct.pack(order + "H", len(entries)), b""
    for tag, sort, numbers in entries:
        data = struct.pack(order + code[sort] * len(numbers), *known.get(tag, numbers))
        head += struct.pack(order + "HHI", tag, sort, len(numbers))
        if len(data) <= 4:
            head += data.ljust(4, b"\0")
        else:
            head += struct.pack(order + "I", further + len(tail))
            tail += data + b"\0" * (-len(data) % 4)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    path.write_bytes(magic + struct.pack(order + "I", 8) + head + b"\0\0\0\0" + tail + b"".join(chunks))


@SMALL
@given(NUMBERS, st.sampled_from("<>"), st.integers(1, 9), st.booleans(), st.booleans(), st.sampled_from([0, 16]), st.booleans())
def test_tiff_bands_are_read_as_they_were_written(
    tmp_path_factory: Any, values: np.ndarray, order: str, strip: int, apart: bool, deflate: bool, tile: int, differences: bool
) -> None:
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    predictor = 2 if differences and deflate and values.dtype.kind != "f" else 1
    write_tiff(path, values, order=order, rows_per_strip=strip, apart=apart, deflate=deflate, predictor=predictor, tile=tile)
    layout = describe_bands(path)
    assert layout is not None
    assert layout.shape == values.shape
    assert np.array_equal(read_bands(path, layout), values)


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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(5), "an array of 5"),
        (np.zeros((2, 3, 4, 5)), "2×3×4×5"),
        (np.zeros((0, 3)), "0×3"),
        (np.array(["a"]), "not numbers"),
        (np.zeros((4, 4, 2), complex), "not numbers"),
        (np.full((4, 4, 2), np.nan), "32 of its 32 values are NaN or infinite"),
        (np.array([[{}]], dtype=object), "Python objects"),
    ],
)
def test_arrays_that_are_no_images_are_skipped_with_the_reason(tmp_path: Path, values: np.ndarray, said: str) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    np.save(tmp_path / "b.npy", np.zeros((4, 4, 2)))
    images = Images.folder(tmp_path)
    assert images.names == ("b.npy",)
    assert said in images.skipped[0].reason


def test_damaged_and_crowded_archives_are_skipped(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", np.zeros((4, 4, 2), np.float32))
    np.savez(tmp_path / "two.npz", a=np.zeros((4, 4, 2)), b=np.zeros((4, 4, 2)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:90])
    np.save(tmp_path / "cut.npy", np.zeros((4, 4, 2)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:200])
    images = Images.folder(tmp_path)
    assert images.names == ("good.npz",)
    reasons = {file.path: file.reason for file in images.skipped}
    assert "damaged or cut short" in reasons["cut.npz"]
    assert "damaged or cut short" in reasons["cut.npy"]
    assert "it holds 2 arrays" in reasons["two.npz"]


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
