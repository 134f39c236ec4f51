"""Spreading a few images over many: how cluttered a background is, and a choice that shows every size and clutter.

Source: edge density as a measure of clutter, Rosenholtz, Li & Nakano 2007, "Measuring visual clutter", sec. 2.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from microtome.numerics.arrays import Array

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
EDGE_STEP = 0.1  # brightness step per pixel (of 0..1) above which a pixel counts as an edge


def edge_strength(
    pixels: UInt8[Array, "image row col rgb"] | Float32[Array, "image row col rgb"],
) -> Float32[Array, "image row col"]:
    """The size of the brightness gradient at each pixel (0 to 255), per pixel of distance, for brightness 0..1."""
    grey = pixels @ np.array(LUMA, dtype=np.float32) / np.float32(255)
    down = np.gradient(grey, axis=1) if grey.shape[1] > 1 else np.zeros_like(grey)
    across = np.gradient(grey, axis=2) if grey.shape[2] > 1 else np.zeros_like(grey)
    return np.hypot(down, across).astype(np.float32)


def clutter_fraction(pixels: UInt8[Array, "image row col rgb"], masks: Bool[Array, "image row col"]) -> Float[Array, " image"]:
    """The fraction of the pixels outside the mask that lie on an edge; not a number where the mask covers all."""
    outside = ~masks
    count = outside.sum((1, 2))
    hits = ((edge_strength(pixels) > EDGE_STEP) & outside).sum((1, 2))
    return np.divide(hits, count, out=np.full(len(count), np.nan), where=count > 0)


def spread_over(size: Float[Array, " image"], clutter: Float[Array, " image"], count: int) -> Int[Array, " chosen"]:
    """Places of `count` images: small, middle and large by thirds, each from plain to cluttered; in that order.

    A cell's first image is the one in its middle. Always the same for the same numbers; all images where there are no more.
    """
    by_size = np.argsort(size, kind="stable")
    cells: list[list[int]] = []
    for third in np.array_split(by_size, 3):
        known = third[np.argsort(np.nan_to_num(clutter[third]), kind="stable")]
        cells += [_middle_first(half) for half in np.array_split(known, 2)]
    chosen: list[tuple[int, int, int]] = []
    depth = 0
    while len(chosen) < min(count, len(size)):
        # plain ones of every size first, so that even three images show three sizes
        for cell in (0, 5, 2, 1, 4, 3):
            if depth < len(cells[cell]) and len(chosen) < count:
                chosen.append((cell, depth, cells[cell][depth]))
        depth += 1
    return np.array([place for _, _, place in sorted(chosen)], dtype=np.int64)


def _middle_first(places: Int[Array, " image"]) -> list[int]:
    away = np.abs(np.arange(len(places)) - (len(places) - 1) / 2)
    return [int(place) for place in places[np.argsort(away, kind="stable")]]
