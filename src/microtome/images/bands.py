"""Images with any number of bands, as numbers: arrays in .npy and .npz files and multi-band TIFFs, and how figures show them.

What is decided here, and holds everywhere:

- uint8 is divided by 255, uint16 by 65535; signed whole numbers and floats stay as they are, in the units of the recipe's mean and std.
- An array of two axes is (row, col); of three, (row, col, channel), or (channel, row, col) where the first axis is shorter than the last.
- Values that are not finite make a file unusable.
- Figures show three bands as red, green and blue, or one as grey: those asked for, else the first three, of one or two the first. uint8 is
  shown as it is; other values from their 1st to their 99th percentile, each band of each image on its own.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import BadOption, ImagesError
from microtome.images.tiff_bands import SUFFIXES as TIFF_SUFFIXES
from microtome.images.tiff_bands import describe_bands, read_bands

ARRAY_SUFFIXES = (".npy", ".npz")
SHOWN_RANGE = (1.0, 99.0)  # percentiles that become black and white
Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BandHeader:
    """The (rows, cols) and the number of bands of a file, and what is worth a note."""

    size: tuple[int, int]
    bands: int
    notes: tuple[str, ...]


def read_band_header(path: Path) -> BandHeader | None:
    """The header of a file of bands; None where the file is an image that Pillow reads.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    if path.suffix.lower() in ARRAY_SUFFIXES:
        array, note = _array_in(path)
        return BandHeader((array.shape[0], array.shape[1]), array.shape[2], (note,) if note else ())
    if path.suffix.lower() in TIFF_SUFFIXES:
        try:
            layout = describe_bands(path)
        except OSError:  # Pillow says what is wrong with it
            return None
        return None if layout is None else BandHeader(layout.shape[:2], layout.shape[2], ())
    return None


def read_raw_bands(path: Path) -> npt.NDArray[Any]:
    """The numbers (row, col, band) as stored, all finite.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    if path.suffix.lower() in ARRAY_SUFFIXES:
        values = np.array(_array_in(path)[0])
    else:
        layout = describe_bands(path)
        if layout is None:
            raise ImagesError("it is no multi-band TIFF any more")
        values = read_bands(path, layout)
    if values.dtype.kind == "f" and (broken := int((~np.isfinite(values)).sum())):
        raise ImagesError(f"{broken} of its {values.size} values are NaN or infinite; fill them")
    return values


def _array_in(path: Path) -> tuple[npt.NDArray[Any], str]:
    """The array (row, col, band) of a .npy or .npz file, in memory or not, and a note on its axes."""
    try:
        loaded = _packed_array(path) if path.suffix.lower() == ".npz" else np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, SyntaxError) as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise ImagesError("it holds Python objects, not numbers") from error
        raise ImagesError(f"it is damaged or cut short ({type(error).__name__})") from error
    return arrange_axes(loaded)


def _packed_array(path: Path) -> npt.NDArray[Any]:
    """The only array of a .npz file. Raises ImagesError where it holds several."""
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
        if len(packed.files) != 1:
            raise ImagesError(f"it holds {len(packed.files)} arrays, and one is an image; save each in a file of its own")
        return packed[packed.files[0]]


def arrange_axes(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], str]:
    """The array as (row, col, band), and a note where its axes were turned.

    Raises:
        ImagesError: with the reason alone: other axes, no values, or no numbers.
    """
    if array.dtype.kind not in "uifb":
        raise ImagesError(f"it holds {array.dtype}, not numbers")
    if array.ndim not in (2, 3) or 0 in array.shape:
        shape = "×".join(map(str, array.shape)) or "one number"
        raise ImagesError(f"an array of {shape}, not (row, column) or (row, column, channel)")
    if array.ndim == 2:
        return array[..., None], ""
    if array.shape[0] < array.shape[2]:
        return array.transpose(1, 2, 0), "arrays read as (channel, row, column), since their first axis is the shorter one"
    return array, ""


def pick_bands(values: npt.NDArray[Any], chosen: Sequence[int] | None) -> npt.NDArray[Any]:
    """The bands (row, col, band) that were chosen, counted from 1; all of them for None."""
    return values if chosen is None else values[..., [number - 1 for number in chosen]]


def scale_bands(values: npt.NDArray[Any]) -> Values:
    """Stored numbers as float32: uint8 divided by 255, uint16 by 65535, everything else as it is."""
    most = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}.get(values.dtype.newbyteorder("="), 1.0)
    return np.asarray(values, np.float32) / np.float32(most)


def shown_bands(bands: int, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Which bands figures show, counted from 1: three, or one."""
    if wanted is None:
        return (1, 2, 3) if bands >= 3 else (1,)
    return check_bands("shown", wanted, bands, (1, 3))


def check_bands(option: str, wanted: Sequence[int], bands: int, lengths: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Band numbers that exist, counted from 1.

    Raises:
        BadOption: another number of them than `lengths` allows, or a band that is not there.
    """
    numbers = tuple(int(each) for each in wanted)
    if not numbers or (lengths and len(numbers) not in lengths):
        raise BadOption(f"{option} names {len(numbers)} bands; it takes {' or '.join(map(str, lengths)) or 'at least 1'}.")
    for number in numbers:
        if not 1 <= number <= bands:
            raise BadOption(f"{option} names band {number}; these images have {bands}, counted from 1.")
    return numbers


def display_bands(values: npt.NDArray[Any], shown: Sequence[int]) -> Image.Image:
    """The bands `shown` (counted from 1) of stored numbers (row, col, band) as an RGB image."""
    chosen = pick_bands(values, shown)
    levels = chosen if chosen.dtype == np.uint8 else np.stack([_stretch(band) for band in np.moveaxis(chosen, 2, 0)], axis=2)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(levels, (*levels.shape[:2], 3))))


def _stretch(band: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    low, high = np.percentile(band.astype(np.float64), SHOWN_RANGE)
    return np.rint(np.clip((band - low) / ((high - low) or 1.0), 0, 1) * 255).astype(np.uint8)


def describe_shown(bands: int, shown: Sequence[int]) -> str:
    """A sentence about which bands figures show."""
    if bands == 1:
        return "The images have one channel; figures show it as grey."
    if len(shown) == 1:
        return f"The images have {bands} channels; figures show band {shown[0]} as grey."
    first, second, third = shown
    return f"The images have {bands} channels; figures show bands {first}, {second} and {third} as red, green and blue."
