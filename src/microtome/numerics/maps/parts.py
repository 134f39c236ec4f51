"""Parts of objects as masks: halves of a mask, boxes or points by hand, and the same shape elsewhere."""

import numpy as np
from jaxtyping import Bool

from microtome.numerics.arrays import Array

PART_NAMES = ("object", "upper", "lower", "left", "right")


def part_of(mask: Bool[Array, "row col"], part: str) -> Bool[Array, "row col"]:
    """The whole mask, or the half of it that lies on that side of its middle (half of its pixels, as nearly as rows or cols allow)."""
    if part == "object":
        return mask
    axis = 0 if part in ("upper", "lower") else 1
    counts = mask.sum(1 - axis)
    border = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    near = np.arange(mask.shape[axis]) < border
    side = near if part in ("upper", "left") else ~near
    return mask & (side[:, None] if axis == 0 else side[None, :])


def mask_bounds(mask: Bool[Array, "row col"]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of the smallest box around the mask; bottom and right are one past the last."""
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def random_position(mask: Bool[Array, "row col"], draws: np.random.Generator) -> Bool[Array, "row col"]:
    """The same shape at a random place wholly inside the image."""
    top, bottom, left, right = mask_bounds(mask)
    shape = mask[top:bottom, left:right]
    row = int(draws.integers(0, mask.shape[0] - shape.shape[0] + 1))
    col = int(draws.integers(0, mask.shape[1] - shape.shape[1] + 1))
    moved = np.zeros_like(mask)
    moved[row : row + shape.shape[0], col : col + shape.shape[1]] = shape
    return moved
