"""One file as an image, whatever kind it is: colours that Pillow decodes, or bands of numbers."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from microtome.images import bands, decoding
from microtome.images.decoding import Header


def read_any_header(path: Path) -> Header:
    """The header of one file; `bands` is 0 for colour and grey images.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    header = bands.read_band_header(path)
    if header is None:
        return decoding.read_header(path)
    return Header(header.size, header.size, 1, header.notes, header.bands)


def verify_any(path: Path, header: Header) -> None:
    """Decode every byte of the file.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    if header.bands:
        bands.read_raw_bands(path)
    else:
        decoding.verify_whole(path)


def read_shown(path: Path, chosen: Sequence[int] | None, shown: Sequence[int]) -> Image.Image:
    """A file of bands as an RGB image: of the bands `chosen` those `shown`, both counted from 1.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    return bands.display_bands(bands.pick_bands(bands.read_raw_bands(path), chosen), shown)


def read_values(path: Path, chosen: Sequence[int] | None) -> bands.Values:
    """The numbers of a file of bands, float32 (row, col, band); of all bands, or those chosen, counted from 1.

    Raises:
        ImagesError: with the reason alone, in a few words.
    """
    return bands.scale_bands(bands.pick_bands(bands.read_raw_bands(path), chosen))
