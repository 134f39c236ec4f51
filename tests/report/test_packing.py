"""Packed arrays come back, to the bit or to the digits that they say they keep."""

from typing import Any

import numpy as np
import pytest

from microtome.finding import array
from microtome.report.packing import DRAWN_LIMIT, EXACT_UP_TO, PART, ROUNDED_FROM, UNDRAWN_LIMIT, pack_array
from packed_arrays import unpacked


def facts(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"dims": [], "shape": list(values.shape), "dtype": str(values.dtype), "unit": "1", "title": "", "coords": {}}


def through(values: np.ndarray[Any, Any], dims: tuple[str, ...], drawn: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    blocks: dict[str, Any] = {}
    return pack_array(array(values, dims, "1"), facts(values), blocks, drawn), blocks


@pytest.mark.parametrize(
    ("values", "dims"),
    [
        (np.array([True, False, True]), ("unit",)),
        (np.arange(-5, 700, dtype=np.int64), ("unit",)),
        (np.array([2**40, -1], dtype=np.int64), ("unit",)),
        (np.array([0.1, np.nan, np.inf, -1e300]), ("unit",)),
        (np.linspace(0, 1, 900, dtype=np.float32).reshape(30, 30), ("row", "col")),
        (np.zeros((0, 4), dtype=np.float32), ("row", "col")),
        (np.arange(255, dtype=np.uint8)[:240].reshape(2, 5, 8, 3), ("image", "row", "col", "rgb")),
        (np.tile(np.arange(48, dtype=np.uint8).repeat(3).reshape(1, 48, 3), (3, 40, 1, 1)), ("image", "row", "col", "rgb")),
        (np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), dtype=np.uint8), ("image", "row", "col", "rgb")),
    ],
)
def test_an_array_comes_back_to_the_bit(values: np.ndarray[Any, Any], dims: tuple[str, ...]) -> None:
    said, blocks = through(values, dims)
    assert "rounded" not in said
    np.testing.assert_array_equal(unpacked(said, blocks), values)


def test_smooth_pictures_take_the_differences_and_noise_stays_raw() -> None:
    ramp = (
        np.arange(64, dtype=np.uint8)[None, :, None] * 3 + np.arange(64, dtype=np.uint8)[:, None, None] + np.zeros(3, np.uint8)
    ).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for values, packing in ((ramp, "pixels"), (noise, "raw")):
        _, blocks = through(values[None], ("image", "row", "col", "rgb"))
        assert [block["packing"] for block in blocks.values()] == [packing]


def test_large_maps_keep_three_digits_and_say_so() -> None:
    values = (np.random.default_rng(0).normal(0, 1e-6, (1, 200, 200))).astype(np.float32)
    assert values.size > ROUNDED_FROM
    said, blocks = through(values, ("layer", "row", "col"))
    assert "safetensors" in said["rounded"]
    # float16 has 11 significant bits: half a unit in the last place is 2^-12 of the value, and 2^-25 of the largest near zero
    assert np.all(np.abs(unpacked(said, blocks) - values) <= np.abs(values) * 2**-11 + np.abs(values).max() * 2**-24)


def test_a_long_column_of_floats_is_float32() -> None:
    values = np.linspace(0, 1, EXACT_UP_TO + 1)
    said, blocks = through(values, ("unit",))
    np.testing.assert_array_equal(unpacked(said, blocks), values.astype(np.float32))


def test_what_is_too_large_is_left_out_with_the_reason() -> None:
    noise = np.random.default_rng(0).normal(size=(UNDRAWN_LIMIT // 4,)).astype(np.float32)
    assert "block" in through(noise, ("unit",), drawn=True)[0]
    said, blocks = through(noise, ("unit",), drawn=False)
    assert "arrays.safetensors" in said["omitted"]
    assert blocks == {}
    said, _ = through(np.random.default_rng(0).normal(size=DRAWN_LIMIT // 4).astype(np.float32), ("unit",), drawn=True)
    assert "arrays.safetensors" in said["omitted"]


def test_pictures_that_stand_in_two_arrays_are_written_once() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (3, 9, 20, 20, 3), dtype=np.uint8)
    others = np.random.default_rng(1).integers(0, 256, (3, 9, 20, 20, 3), dtype=np.uint8)
    both = np.stack([patches, others], 1).reshape(6, *patches.shape[1:])  # patch, projection, patch, …
    blocks: dict[str, Any] = {}
    dims = ("unit", "rank", "row", "col", "rgb")
    one, two = (pack_array(array(values, dims, "1"), facts(values), blocks, True) for values in (patches, both))
    assert patches[0].nbytes >= PART
    assert one["block"] == two["block"][::2]
    assert len(blocks) == 6
    np.testing.assert_array_equal(unpacked(two, blocks), both)
