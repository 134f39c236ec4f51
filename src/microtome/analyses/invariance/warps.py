"""Images moved: shifted, scaled, turned, mirrored, on tensors; whole pixels are copied exactly, all else is bilinear.

An image grows and turns about its middle, ((rows - 1) / 2, (cols - 1) / 2) counted in pixel centres, so that a quarter turn of a
square and a mirror image are exact copies too. What comes in at the border is made up: mirrored without repeating the edge pixel
(reflect), the recipe's mean colour (mean), the far side (wrap); or it is real, where a larger image is given (crop).

Source: the transformations of Zeiler & Fergus 2014, arXiv:1311.2901, fig. 5, which does not say what it does at the border.
"""

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from microtome.numerics.arrays import Array

Border = Literal["reflect", "mean", "wrap", "crop"]
Matrix = tuple[tuple[float, float], tuple[float, float]]
IDENTITY: Matrix = ((1.0, 0.0), (0.0, 1.0))
DIGITS = 9  # of a pixel: nearer to a whole one than this is a whole one


def shift(
    x: Float[Tensor, "image rgb row col"], rows: float, cols: float, border: Border, size: tuple[int, int] | None = None
) -> Float[Tensor, "image rgb row_ col_"]:
    """The images moved down by `rows` and to the right by `cols` pixels; whole numbers give exact copies.

    `size`: (rows, cols) of what comes back, cut from the middle of `x` (default: its own).
    """
    return resample(x, IDENTITY, (rows, cols), border, size)


def scale_images(
    x: Float[Tensor, "image rgb row col"], factor: float, border: Border, size: tuple[int, int] | None = None
) -> Float[Tensor, "image rgb row_ col_"]:
    """The images enlarged `factor` times about their middle; below 1 they shrink, without a filter against aliasing."""
    return resample(x, ((1 / factor, 0.0), (0.0, 1 / factor)), (0.0, 0.0), border, size)


def rotate(
    x: Float[Tensor, "image rgb row col"], degrees: float, border: Border, size: tuple[int, int] | None = None
) -> Float[Tensor, "image rgb row_ col_"]:
    """The images turned counter-clockwise about their middle; quarter turns of a square are exact copies."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return resample(x, ((cosine, sine), (-sine, cosine)), (0.0, 0.0), border, size)


def flip(
    x: Float[Tensor, "image rgb row col"], *, rows: bool = False, cols: bool = False
) -> Float[Tensor, "image rgb row col"]:
    """The images mirrored: `cols` swaps left and right, `rows` top and bottom."""
    return x.flip([dim for dim, wanted in ((2, rows), (3, cols)) if wanted])


def resample(
    x: Float[Tensor, "image rgb row col"],
    matrix: Matrix,
    shift: tuple[float, float],
    border: Border,
    size: tuple[int, int] | None = None,
) -> Float[Tensor, "image rgb row_ col_"]:
    """Pixel p of the result is the image at `matrix` (p - its middle) - `shift` + the image's middle, as (row, col).

    Zero, which stands for the recipe's mean colour in normalised images, comes in where the border is "mean". "crop" expects
    an `x` larger than `size`, so large that nothing outside it is asked for; were it asked for, it would be mirrored.
    """
    high, wide = (int(x.shape[2]), int(x.shape[3]))
    out = size or (high, wide)
    down, across = (np.arange(count) - (count - 1) / 2 for count in out)
    middle = ((high - 1) / 2 - shift[0], (wide - 1) / 2 - shift[1])
    if matrix[0][1] == 0 and matrix[1][0] == 0:  # one side after the other: the same, and faster
        made = _sample_axis(
            _sample_axis(x, matrix[0][0] * down + middle[0], 2, border), matrix[1][1] * across + middle[1], 3, border
        )
        return made.clone() if made is x else made  # what is done to the copy must not reach the image
    rows = matrix[0][0] * down[:, None] + matrix[0][1] * across + middle[0]
    cols = matrix[1][0] * down[:, None] + matrix[1][1] * across + middle[1]
    made = torch.zeros((*x.shape[:2], *out), dtype=x.dtype, device=x.device)
    for row, row_share in _neighbour_pixels(rows, high, border):
        for col, col_share in _neighbour_pixels(cols, wide, border):
            if (share := row_share * col_share).any():  # else nothing of this neighbour
                places = torch.from_numpy(row * wide + col).to(x.device)
                made += x.flatten(2)[:, :, places] * torch.from_numpy(share).to(x)
    return made


def _sample_axis(x: Tensor, at: Float64[Array, " place"], dim: int, border: Border) -> Tensor:
    """`x` at the places `at` of one of its sides, linearly; `x` itself where these are its own."""
    if np.array_equal(np.round(at, DIGITS), np.arange(x.shape[dim])):
        return x
    parts: list[Tensor] = []
    for place, share in _neighbour_pixels(at, int(x.shape[dim]), border):
        if share.any():
            chosen = x.index_select(dim, torch.from_numpy(place).to(x.device))
            weight = torch.from_numpy(share).to(x).reshape([-1 if axis == dim else 1 for axis in range(4)])
            parts.append(chosen if (share == 1).all() else chosen * weight)
    return (
        sum(parts[1:], start=parts[0])
        if parts
        else x.new_zeros([len(at) if axis == dim else n for axis, n in enumerate(x.shape)])
    )


def _neighbour_pixels(
    at: Float64[Array, "*place"], count: int, border: Border
) -> list[tuple[Int64[Array, "*place"], Float64[Array, "*place"]]]:
    """The two pixels beside each place along a side of `count` px, folded back into the image, and the fraction of each."""
    at = np.round(at, DIGITS)
    low = np.floor(at).astype(np.int64)
    samples: list[tuple[Array, Array]] = []
    for place, share in ((low, 1 - (at - low)), (low + 1, at - low)):
        if border == "mean":
            samples.append((place.clip(0, count - 1), share * ((place >= 0) & (place < count))))
        else:
            samples.append((place % count if border == "wrap" else _reflect(place, count), share))
    return samples


def _reflect(at: Int64[Array, "*place"], count: int) -> Int64[Array, "*place"]:
    """Mirrored at the first and the last pixel, which are not repeated: -1 is 1."""
    if count == 1:
        return np.zeros_like(at)
    period = 2 * (count - 1)
    at = at % period
    return np.minimum(at, period - at)


Warp = Literal["row_shift", "col_shift", "crop_shift", "scale", "rotation", "flip"]
WARPS: dict[Warp, tuple[str, float]] = {
    "row_shift": ("px downwards", 0.0),
    "col_shift": ("px to the right", 0.0),
    "crop_shift": ("px along both sides", 0.0),
    "scale": ("times", 1.0),
    "rotation": ("degrees counter-clockwise", 0.0),
    "flip": ("0 none, 1 left and right, 2 top and bottom", 0.0),
}  # each with the unit of its amounts and the amount that changes nothing


def warp_images(
    x: Float[Tensor, "image rgb row col"], warp: Warp, amount: float, border: Border, size: tuple[int, int] | None = None
) -> Float[Tensor, "image rgb row_ col_"]:
    """The images under one warp, its amount in the unit of `WARPS`; `crop_shift` moves the window, so the content goes up."""
    if warp == "scale":
        return scale_images(x, amount, border, size)
    if warp == "rotation":
        return rotate(x, amount, border, size)
    if warp == "flip":
        return flip(resample(x, IDENTITY, (0.0, 0.0), border, size), rows=amount == 2, cols=amount == 1)
    down, across = {"row_shift": (amount, 0.0), "col_shift": (0.0, amount)}.get(warp, (-amount, -amount))
    return shift(x, down, across, border, size)


def warp_margin(warp: Warp, amount: float, size: tuple[int, int]) -> int:
    """How many pixels beyond the sides of an image of `size` the warp asks for, at most; even, and enough for both sides."""
    if warp == "flip":
        return 0
    if warp == "scale":
        beyond = max(size) * (1 / amount - 1) / 2
    elif warp == "rotation":
        beyond = 0.0 if amount % 180 == 0 else (math.hypot(*size) - min(size)) / 2
    else:
        beyond = abs(amount)
    return 2 * math.ceil(max(beyond, 0.0) / 2)
