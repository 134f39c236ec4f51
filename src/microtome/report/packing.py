"""Arrays as JSON: base64 of little-endian numbers, compressed where that is shorter, each distinct block written once.

The page holds many findings, and the same images lie under several of them; so an array names a block by its hash, and blocks
are kept apart; large images are several blocks, one for each place of their first dimension, so that the same patches in two
findings are written once. Compression is PNG's own (differences along the row, then zlib) without PNG's container, because a browser may
alter what it reads back from a canvas, and these bytes are offered for download.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

ROUNDED_FROM = 8_192  # values: from here on, maps of floats are written with eleven bits (float16 over a common scale)
EXACT_UP_TO = 4_096  # values: up to here, float64 stays float64, so that counts in tables are exact
UNDRAWN_LIMIT = 60_000  # characters of base64 for an array that no panel draws
DRAWN_LIMIT = 6_000_000  # characters of base64 for one that a panel draws
UNSHARED_NAMES = 3  # coordinates: up to here, a list of them is as short as a key
PART = 8_192  # bytes of pixels along the first dimension, from where on each of its places is a block of its own

Numbers = np.ndarray[Any, Any]


def pack_array(array: xr.DataArray, facts: Mapping[str, Any], blocks: dict[str, Any], drawn: bool) -> dict[str, Any]:
    """`facts` (the card's entry of the array) with the name of the block, or blocks, of `blocks` that hold its values.

    An array too large for a page names no block and says so in `omitted`; one written with fewer digits says so in `rounded`.
    """
    entry = dict(facts)
    if entry["dtype"] == "text":
        return entry
    parts = _array_blocks(array)
    limit = DRAWN_LIMIT if drawn else UNDRAWN_LIMIT
    if (size := sum(len(block["data"]) for block in parts)) > limit:
        entry["omitted"] = f"{size / 1e6:.1f} MB, too large for one page; all of it is in arrays.safetensors"
        return entry
    if parts[0]["dtype"] == "f2":
        entry["rounded"] = "three digits here; all digits are in arrays.safetensors"
    keys = [_key(sorted(block.items())) for block in parts]
    blocks |= dict(zip(keys, parts, strict=True))
    return entry | {"block": keys[0] if len(keys) == 1 else keys}


def share_coordinates(entry: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """`entry` (an array as `pack_array` gives it) with its long lists of coordinates named by a key of `shared`.

    The names of a network's layers or of all images stand in hundreds of arrays; the page holds each list once.
    """
    coords = dict(entry.get("coords") or {})
    for dim, names in coords.items():
        if len(names) > UNSHARED_NAMES:
            key = _key(names)
            shared[key] = names
            coords[dim] = key
    return entry | {"coords": coords}


def _key(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _array_blocks(array: xr.DataArray) -> list[dict[str, Any]]:
    """The whole array as one block, or large images place by place of the first dimension: others may show some of them, too."""
    values, width = array.values, _picture_row_bytes(array)
    if width and values.ndim > 3 and len(values) > 1 and values[0].nbytes >= PART:
        return [_shortest_block(value, width) for value in values]
    return [_shortest_block(values, width)]


def _picture_row_bytes(array: xr.DataArray) -> int:
    """How many bytes make one image row, for (…, row, col, rgb) of uint8; otherwise 0."""
    dims = tuple(map(str, array.dims))
    return int(array.sizes["col"]) * 3 if dims[-3:] == ("row", "col", "rgb") and array.dtype == np.uint8 else 0


def _shortest_block(values: Numbers, picture_row: int) -> dict[str, Any]:
    """The shortest of the ways to write `values`, with what a reader needs to undo it."""
    plain, scale = _narrow(values)
    kind = f"{plain.dtype.kind}{plain.dtype.itemsize}"
    ways = {"raw": plain.tobytes()}
    if plain.nbytes > 256:
        ways["zlib"] = _deflate(_transpose_bytes(plain))
    if picture_row and plain.size:
        ways["pixels"] = _deflate(_differences(plain, picture_row))
    best = min(ways, key=lambda way: len(ways[way]))
    block: dict[str, Any] = {"dtype": kind, "packing": best, "data": base64.b64encode(ways[best]).decode()}
    if scale != 1.0:
        block["scale"] = scale
    if best == "pixels":
        block["width"] = picture_row // 3
    return block


def _deflate(data: bytes) -> bytes:
    """zlib's default; its longest search takes five times as long for pages that are two per cent shorter."""
    return zlib.compress(data, 6)


def _narrow(values: Numbers) -> tuple[Numbers, float]:
    """`values` in the narrowest type the page reads (u1, i4, f2, f4, f8; little-endian), and the factor to multiply by."""
    if values.dtype.kind == "b" or values.dtype == np.uint8:
        return np.ascontiguousarray(values, dtype="<u1"), 1.0
    if values.dtype.kind in "iu":
        fits = values.size == 0 or (int(values.min()) >= -(2**31) and int(values.max()) < 2**31)
        return np.ascontiguousarray(values, dtype="<i4" if fits else "<f8"), 1.0
    with np.errstate(over="ignore"):
        single = values.astype("<f4")
    if values.dtype == np.float64 and _loses(single, values):
        return np.ascontiguousarray(values, dtype="<f8"), 1.0
    if values.size > ROUNDED_FROM and values.ndim > 2:
        finite = np.abs(values[np.isfinite(values)])
        largest = float(finite.max()) if finite.size else 0.0
        scale = largest if largest > 0 else 1.0
        return (values / scale).astype("<f2"), scale
    return np.ascontiguousarray(single), 1.0


def _loses(single: Numbers, values: Numbers) -> bool:
    """Whether float32 is too coarse: in short arrays when any digit is lost, in long ones only when a value overflows."""
    if values.size <= EXACT_UP_TO:
        return not np.array_equal(single.astype("<f8"), values, equal_nan=True)
    return bool((np.isinf(single) & ~np.isinf(values)).any())


def _transpose_bytes(plain: Numbers) -> bytes:
    """All first bytes, then all second bytes, …: neighbours in exponent and sign compress far better side by side."""
    return plain.reshape(-1).view(np.uint8).reshape(-1, plain.dtype.itemsize).T.tobytes()


def _differences(pixels: Numbers, picture_row: int) -> bytes:
    """Each pixel minus its left neighbour, modulo 256, row by row."""
    rows = pixels.reshape(-1, picture_row // 3, 3)
    left = np.zeros_like(rows)
    left[:, 1:] = rows[:, :-1]
    return (rows - left).tobytes()
