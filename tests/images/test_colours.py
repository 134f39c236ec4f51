"""Grey levels and transparency against arithmetic on single values; strips give what the whole gives."""

import numpy as np
import pytest
from PIL import Image

from microtome.images import colours
from microtome.images.colours import has_transparency, to_grey_levels, to_rgb


def test_sixteen_bits_are_rounded_to_the_nearest_of_256() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values.astype(np.float64) / 257)  # 65535 / 255; never half way, since 257 is odd
    assert np.array_equal(to_grey_levels(values), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]]), [0, 128, 255]),  # 0 … 1
        (np.array([[0.0, 51.0, 255.0]]), [0, 51, 255]),  # 0 … 255
        (np.array([[-1.0, 0.0, 3.0]]), [0, 64, 255]),  # anything else from its least to its largest
        (np.array([[0, 51, 255]], dtype=np.int32), [0, 51, 255]),
        (np.array([[0, 25700, 65535]], dtype=np.int32), [0, 100, 255]),
        (np.array([[np.nan, 0.5, 1.0]]), [0, 128, 255]),  # what is not finite is black, and has no say in the range
        (np.array([[np.nan, np.inf]]), [0, 0]),
    ],
)
def test_levels_of_32_bits(values: np.ndarray, expected: list[int]) -> None:
    assert to_grey_levels(values)[0].tolist() == expected


def test_transparent_pixels_lie_on_white() -> None:
    clear = Image.new("RGBA", (2, 1), (100, 0, 200, 0))
    clear.putpixel((1, 0), (100, 0, 200, 255))
    found = to_rgb(clear)
    assert [found.getpixel((col, 0)) for col in (0, 1)] == [(255, 255, 255), (100, 0, 200)]
    assert has_transparency(clear) and not has_transparency(found)


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB", "CMYK"])
def test_strips_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(0)
    whole = Image.fromarray(draws.integers(0, 256, (37, 23, 4), dtype=np.uint8), "RGBA").convert(mode)
    monkeypatch.setattr(colours, "STRIP_PIXELS", 200)
    assert np.array_equal(np.asarray(to_rgb(whole, 3)), np.asarray(to_rgb(whole).reduce(3)))
