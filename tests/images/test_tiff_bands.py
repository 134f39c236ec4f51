"""TIFF files of bands, written here byte by byte, are read as they were written."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from drawn_bands import NUMBERS, SMALL
from microtome.errors import ImagesError
from microtome.images.tiff_bands import describe_bands, read_bands


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


def test_colour_images_and_other_files_are_no_bands(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA", "CMYK", "L", "LA", "1", "I;16", "F"):
        Image.new(mode, (5, 4)).save(tmp_path / "a.tif")
        assert describe_bands(tmp_path / "a.tif") is None, mode
    (tmp_path / "a.tif").write_bytes(b"no TIFF at all")
    assert describe_bands(tmp_path / "a.tif") is None


def test_damaged_bands_are_a_reason(tmp_path: Path) -> None:
    values = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)
    path = tmp_path / "a.tif"
    write_tiff(path, values, order="<", rows_per_strip=2, apart=False, deflate=True, predictor=1, tile=0)
    layout = describe_bands(path)
    assert layout is not None
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ImagesError, match="damaged or cut short"):
        read_bands(path, layout)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ImagesError, match="its TIFF tags are damaged"):
        describe_bands(path)
