"""TIFF files whose samples are no colours: any number of bands, whole numbers or floats, in strips or tiles.

Pillow reads the tags and undoes the compression: each strip or tile is handed to it as a grey image of bytes. The numbers are put
together here.

Source: TIFF 6.0, Adobe 1992; Adobe Photoshop TIFF Technical Note 3 (floating-point predictor), 2005.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from microtome.errors import ImagesError

SUFFIXES = (".tif", ".tiff")
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples of one pixel by photometric interpretation
ALPHA = (1, 2)  # kinds of extra samples that are transparency
NO_COMPRESSION = 1
COMPRESSIONS = (NO_COMPRESSION, 5, 8, 32946, 32773, 34925, 50000)  # none, LZW, deflate (two numbers), PackBits, LZMA, Zstandard
KINDS = {1: "u", 2: "i", 3: "f"}  # NumPy's letter by sample format


@dataclass(frozen=True)
class BandFile:
    """How a multi-band TIFF is laid out: (rows, cols, bands), the type of its numbers, and its tags."""

    shape: tuple[int, int, int]
    kind: np.dtype[Any]
    tags: dict[int, Any]


def describe_bands(path: Path) -> BandFile | None:
    """The layout of a TIFF that holds bands; None where it is a colour or grey image, or no TIFF, which Pillow reads or refuses.

    Raises:
        ImagesError: with the reason alone: numbers or a compression that are not read.
    """
    with path.open("rb") as stream:
        start = stream.read(8)
        if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return None
        try:
            tags: Any = TiffImagePlugin.ImageFileDirectory_v2(
                start + (stream.read(8) if start[2:4] in (b"+\0", b"\0+") else b"")
            )
            stream.seek(tags.next)
            tags.load(stream)
            known = {int(number): tags[number] for number in tags}
        except Exception as error:
            raise ImagesError(f"its TIFF tags are damaged ({type(error).__name__})") from error
    samples, bits = int(known.get(277, 1)), _first(known.get(258, 1))
    sort = _first(known.get(339, 1))
    if not _holds_bands(known, samples, bits, sort):
        return None
    if len(set(_every(known.get(258, 1)))) > 1 or bits not in (8, 16, 32, 64) or sort not in KINDS or (sort == 3 and bits == 8):
        raise ImagesError(
            f"its bands hold numbers of {bits} bits (sample format {sort}), which are not read; save them as float32"
        )
    if int(known.get(259, 1)) not in COMPRESSIONS:
        raise ImagesError(
            f"its bands are compressed by method {known[259]}, which is not read; save it with deflate, or as .npy"
        )
    order = "<" if start[:2] == b"II" else ">"
    return BandFile((int(known[257]), int(known[256]), samples), np.dtype(f"{order}{KINDS[sort]}{bits // 8}"), known)


def _holds_bands(tags: dict[int, Any], samples: int, bits: int, sort: int) -> bool:
    """Whether there are samples that no colour image has."""
    if samples < 2:
        return False
    further = samples - COLOURS.get(int(tags.get(262, 1)), 1)
    transparent = further == 1 and _first(tags.get(338, 0)) in ALPHA
    return (further > 0 and not transparent) or sort != 1 or bits > 16


def read_bands(path: Path, layout: BandFile) -> npt.NDArray[Any]:
    """The numbers (row, col, band) as stored.

    Raises:
        ImagesError: with the reason alone: the file is damaged or cut short.
    """
    rows, cols, bands = layout.shape
    values = np.zeros((rows, cols, bands), layout.kind.newbyteorder("="))
    try:
        with path.open("rb") as stream:
            for top, left, band, shape, offset, size in _chunks(layout):
                stream.seek(offset)
                chunk = _decode_chunk(stream.read(size), shape, layout)
                tall, wide = min(shape[0], rows - top), min(shape[1], cols - left)
                into = slice(band, band + 1) if shape[2] == 1 else slice(None)
                values[top : top + tall, left : left + wide, into] = chunk[:tall, :wide]
    except Exception as error:
        raise ImagesError(f"it is damaged or cut short ({type(error).__name__})") from error
    return values


def _chunks(layout: BandFile) -> Iterator[tuple[int, int, int, tuple[int, int, int], int, int]]:
    """Each strip or tile: (top, left, band, its (rows, cols, bands), offset, bytes)."""
    rows, cols, bands = layout.shape
    tags = layout.tags
    tiled = 324 in tags
    offsets, sizes = _every(tags[324 if tiled else 273]), _every(tags[325 if tiled else 279])
    tall = int(tags[323]) if tiled else min(int(tags.get(278, rows)), rows)
    wide = int(tags[322]) if tiled else cols
    apart = int(tags.get(284, 1)) == 2
    places = [
        (top, left, band)
        for band in (range(bands) if apart else range(1))
        for top in range(0, rows, tall)
        for left in range(0, cols, wide)
    ]
    for (top, left, band), offset, size in zip(places, offsets, sizes, strict=True):
        shape = (tall if tiled else min(tall, rows - top), wide, 1 if apart else bands)
        yield top, left, band, shape, int(offset), int(size)


def _decode_chunk(data: bytes, shape: tuple[int, int, int], layout: BandFile) -> npt.NDArray[Any]:
    rows, cols, bands = shape
    width = cols * bands * layout.kind.itemsize
    compression = int(layout.tags.get(259, 1))
    plain = data if compression == NO_COMPRESSION else _decompress(data, rows, width, compression)
    predictor = int(layout.tags.get(317, 1))
    if predictor == 3:
        parts = np.frombuffer(plain, np.uint8, rows * width).reshape(rows, -1, bands)
        planes = parts.cumsum(axis=1, dtype=np.uint8).reshape(rows, layout.kind.itemsize, cols * bands)
        joined = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(layout.kind.newbyteorder(">"))
        return joined.reshape(shape)
    values = np.frombuffer(plain, layout.kind, rows * cols * bands).reshape(shape)
    if predictor == 2:
        whole = np.dtype(f"u{layout.kind.itemsize}")
        native = values.astype(layout.kind.newbyteorder("="))
        return native.view(whole).cumsum(axis=1, dtype=whole).view(native.dtype)
    return values


def _decompress(data: bytes, rows: int, width: int, compression: int) -> bytes:
    """The bytes of one strip or tile, decompressed by Pillow as a grey image of `rows` times `width` bytes."""
    entries = [
        (256, 4, width), (257, 4, rows), (258, 3, 8), (259, 3, compression), (262, 3, 1),
        (273, 4, 8 + 2 + 9 * 12 + 4), (277, 3, 1), (278, 4, rows), (279, 4, len(data)),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries) + struct.pack("<I", 0)
    with Image.open(BytesIO(head + data), formats=["TIFF"]) as picture:
        return picture.tobytes()


def _every(value: Any) -> list[int]:
    return [int(each) for each in value] if isinstance(value, tuple) else [int(value)]


def _first(value: Any) -> int:
    return _every(value)[0]
