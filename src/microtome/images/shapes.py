"""Boxes, outlines and run-length masks of objects, and the union of them as one mask (row, col).

A pixel belongs to a shape when its centre does.

Source: COCO data format, cocodataset.org/#format-data (run lengths go down the columns, background first).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from microtome.errors import ImagesError
from microtome.images.decoding import Header
from microtome.images.masks import Mask, orient_mask


@dataclass(frozen=True)
class Regions:
    """The objects marked on one image.

    `boxes`: (top, left, bottom, right) in pixels from the corner of the first, bottom and right not included; `outlines`: for
    each object its polygons (left, top, left, top, …); `runs`: for each object ((rows, cols), lengths of runs down the
    columns, the first of background). `size`: (rows, cols) of the image they were drawn on, if that is told.
    """

    boxes: tuple[tuple[float, float, float, float], ...] = ()
    outlines: tuple[tuple[tuple[float, ...], ...], ...] = ()
    runs: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = ()
    size: tuple[int, int] | None = None

    @property
    def objects(self) -> int:
        """How many objects are marked."""
        return len(self.boxes) + len(self.outlines) + len(self.runs)

    def mask(self, header: Header) -> Mask:
        """The union (row, col) of all objects on the image with that header, as displayed.

        Raises:
            ImagesError: with the reason alone: drawn on an image of another size, or all outside the image.
        """
        shape = self.size or (self.runs[0][0] if self.runs else header.size)
        if shape not in (header.size, header.stored):
            rows, cols = header.size
            raise ImagesError(
                f"its boxes were drawn on {shape[0]}×{shape[1]} pixels (rows × columns), the image has {rows}×{cols}"
            )
        mask = np.zeros(shape, bool)
        for box in self.boxes:
            _fill_box(mask, box)
        for polygons in self.outlines:
            for polygon in polygons:
                _fill_polygon(mask, polygon)
        for size, lengths in self.runs:
            if size != shape:
                raise ImagesError(
                    f"one of its run-length masks has {size[0]}×{size[1]} pixels, the image {shape[0]}×{shape[1]}"
                )
            mask |= decode_runs(size, lengths)
        if not mask.any():
            raise ImagesError("its boxes lie outside the image")
        return orient_mask(mask, header, "its boxes")


def _fill_box(mask: Mask, box: tuple[float, float, float, float]) -> None:
    top, left, bottom, right = box
    rows, cols = _pixel_span(top, bottom), _pixel_span(left, right)
    mask[max(rows[0], 0) : max(rows[1], 0), max(cols[0], 0) : max(cols[1], 0)] = True


def _pixel_span(low: float, high: float) -> tuple[int, int]:
    """First pixel and the one after the last whose centres lie between; of a sliver, the pixel it is in."""
    first, last = int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))
    return (first, last) if last > first else (int(np.floor((low + high) / 2)), int(np.floor((low + high) / 2)) + 1)


def _fill_polygon(mask: Mask, polygon: Sequence[float]) -> None:
    """Sets the pixels whose centres a polygon holds, by the even-odd rule, row by row."""
    corners = np.asarray(polygon, float).reshape(-1, 2)
    col, row = corners[:, 0], corners[:, 1]
    next_col, next_row = np.roll(col, -1), np.roll(row, -1)
    for line in range(max(int(np.floor(row.min())), 0), min(int(np.ceil(row.max())), mask.shape[0])):
        centre = line + 0.5
        crossing = (row <= centre) != (next_row <= centre)
        share = (centre - row[crossing]) / (next_row[crossing] - row[crossing])
        at = np.sort(col[crossing] + share * (next_col[crossing] - col[crossing]))
        for left, right in zip(at[::2], at[1::2], strict=True):
            mask[line, max(int(np.ceil(left - 0.5)), 0) : max(int(np.ceil(right - 0.5)), 0)] = True


def decode_runs(size: tuple[int, int], lengths: Iterable[int]) -> Mask:
    """The mask (row, col) of runs down the columns, background first.

    Raises:
        ImagesError: with the reason alone: the runs do not fill the image.
    """
    counts = np.fromiter(lengths, np.int64)
    if counts.sum() != size[0] * size[1] or (counts < 0).any():
        raise ImagesError(
            f"its run-length mask holds {counts.sum()} pixels, not the {size[0] * size[1]} of {size[0]}×{size[1]}"
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size[1], size[0]).T.copy()


def unpack_runs(text: str) -> tuple[int, ...]:
    """The run lengths that COCO packs into a string.

    Six bits a character, five of them a digit; from the third on each run as its difference from the one before the last.
    """
    lengths: list[int] = []
    value = place = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << place
        place += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << place
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = place = 0
    return tuple(lengths)
