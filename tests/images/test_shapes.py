"""Outlines and run lengths as pixels: centres decide, and packed runs unpack to what was packed."""

import numpy as np
import pytest

from microtome.errors import ImagesError
from microtome.images.decoding import Header
from microtome.images.shapes import Regions, decode_runs, unpack_runs


def test_a_triangle_by_its_pixel_centres() -> None:
    header = Header((4, 4), (4, 4), 1, ())
    mask = Regions(outlines=(((0, 0, 4, 4, 0, 4),),)).mask(header)
    rows, cols = np.indices((4, 4)) + 0.5
    assert np.array_equal(mask, (cols < rows))  # a centre on the slanted edge itself counts as outside: half open


def test_run_lengths_refuse_what_does_not_fill_the_picture() -> None:
    assert decode_runs((2, 2), [1, 2, 1]).tolist() == [[False, True], [True, False]]
    with pytest.raises(ImagesError, match="holds 3 pixels, not the 4"):
        decode_runs((2, 2), [1, 2])


def packed(lengths: list[int]) -> str:
    """COCO's packing written the slow way, from its description: each run from the third on less the one before the last."""
    text = ""
    for at, length in enumerate(lengths):
        value = length - lengths[at - 2] if at > 2 else length
        while True:
            bits, value = value & 31, value >> 5
            last = value == (-1 if bits & 16 else 0)
            text += chr(48 + (bits | (0 if last else 32)))
            if last:
                break
    return text


def test_packed_run_lengths() -> None:
    draws = np.random.default_rng(0)
    assert packed([42, 3, 555]) == "Z13[a0"
    for _ in range(50):
        lengths = draws.integers(0, 5000, 9).tolist()
        assert list(unpack_runs(packed(lengths))) == lengths
