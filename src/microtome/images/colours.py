"""Conversion of every Pillow mode to 8-bit RGB, by the rules of `decoding`."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ALPHA_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
STRIP_PIXELS = 4_000_000  # pixels converted at once where the result is shrunk anyway


def to_rgb(picture: Image.Image, factor: int = 1) -> Image.Image:
    """The loaded image as RGB, `factor` times smaller (box average), a strip at a time so that no large RGB copy is made."""
    if factor == 1:
        return _to_rgb_mode(picture)
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture.reduce(factor)
    if picture.mode in ("I", "F"):  # these are scaled by the range of the whole
        return _to_rgb_mode(picture).reduce(factor)
    cols, rows = picture.size
    tall = max(STRIP_PIXELS // (cols * factor), 1) * factor
    shrunk = Image.new("RGB", (-(-cols // factor), -(-rows // factor)))
    for top in range(0, rows, tall):
        strip = picture.crop((0, top, cols, min(top + tall, rows)))
        shrunk.paste(_to_rgb_mode(strip).reduce(factor), (0, top // factor))
    return shrunk


def has_transparency(picture: Image.Image) -> bool:
    """Whether the image has an alpha channel or a transparent colour."""
    return picture.mode in ALPHA_MODES or "transparency" in picture.info


def _to_rgb_mode(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        return Image.fromarray(to_grey_levels(np.asarray(picture))).convert("RGB")
    if not has_transparency(picture):
        return picture.convert("RGB")  # a copy where it is RGB already
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.replace("a", "A"))
    clear = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def to_grey_levels(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey levels 0..255 (row, col) of 16-bit or 32-bit values (row, col), by the rules in `decoding`."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 2:
        levels = (np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535
        return levels.astype(np.uint8)[values.astype(np.uint16, copy=False)]
    finite = np.isfinite(values)
    inside = values[finite]
    if inside.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = _grey_range(float(inside.min()), float(inside.max()), whole=values.dtype.kind in "iu")
    scaled = (np.where(finite, values, low).astype(np.float64) - low) / ((high - low) or 1.0)
    return np.rint(scaled * 255).astype(np.uint8)


def _grey_range(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """What becomes black and what becomes white, of 32-bit values that go from `low` to `high`."""
    if low < 0 or high > 65535 or (high > 255 and not whole):
        return low, high
    if whole:
        return (0.0, 65535.0) if high > 255 else (0.0, 255.0)
    return (0.0, 1.0) if high <= 1 else (0.0, 255.0)
