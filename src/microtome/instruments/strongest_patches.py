"""The strongest places of units: found batch by batch, seated in the image, and cut out of it.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4 and fig. 2: the nine strongest activations of a unit over an image set,
one for each image, as patches of the unit's receptive field.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from microtome.errors import BadOption
from microtome.images import Images
from microtome.instruments.receptive_fields import receptive_fields
from microtome.numerics.receptive.field import Field
from microtome.numerics.statistics.selectivity import class_agreement
from microtome.specimen import Layer, Recipe, Specimen
from microtome.tally import Top

Values = np.ndarray[Any, Any]


def strongest_activations(layer: Layer, value: Tensor, per_image: int) -> tuple[Values, Values]:
    """The `per_image` largest activations of every unit in every image, and their positions counted row by row.

    Both are (per_image · image, unit), the images' largest first, then their second largest. NaN where a grid has fewer positions;
    a value that is not a number is never among the largest.
    """
    flat = layer.maps(value.detach()).flatten(2).float()
    flat = torch.where(flat.isnan(), -torch.inf, flat)
    if per_image == 1:
        largest, cells = flat.max(2)  # of equal positions torch gives the first
        values, cells = largest[:, None], cells[:, None]
    else:
        ordered = flat.sort(dim=2, descending=True, stable=True)
        values, cells = (part[:, :, :per_image].transpose(1, 2) for part in ordered)
    values = torch.where(values == -torch.inf, torch.nan, values)
    first, second = (part.transpose(0, 1).flatten(0, 1).cpu().numpy() for part in (values, cells))
    return first, second


def nonzero_peaks(top: Top, name: str) -> tuple[Values, Values, Values]:
    """Values, images and positions (rank, unit) of what `top` holds of that layer, without exact zeros: NaN and -1 there.

    An activation of exactly zero is what a rectifier gives where the unit did not answer, so its place means nothing.
    """
    value, image, cell = top.values(name), top.images(name), top.positions(name)
    silent = value == 0
    return np.where(silent, np.float32(np.nan), value), np.where(silent, -1, image), np.where(silent, -1, cell)


def check_numbers(analysis: str, specimen: Specimen, name: str, numbers: Sequence[int], units: int) -> None:
    """Raises BadOption where a unit that was asked for by number is not among the `units` of a layer."""
    if wrong := [unit for unit in numbers if not 0 <= unit < units]:
        raise BadOption(f"{analysis}: {name} of {specimen.name} has no unit {wrong[0]}; its units are 0 to {units - 1}.")


def choose_units(sort: str, count: int, value: Values, image: Values, labels: Values | None) -> Values:
    """Which `count` units to show, as numbers: "spread" evenly over those that fire, "first", "strong" or "selective".

    `value` and `image` are (rank, unit), void entries NaN and -1. "selective" goes by the agreement of classes, and is "spread"
    where no labels say anything. Units that never fired come last.
    """
    live = np.flatnonzero((image >= 0).any(0))
    if sort == "spread" or (sort == "selective" and labels is None):
        chosen = (
            live[np.unique(np.linspace(0, len(live) - 1, min(count, len(live))).round().astype(int))] if len(live) else live
        )
    elif sort == "selective":
        assert labels is not None
        chosen = live[np.argsort(-np.nan_to_num(class_agreement(image[:, live], labels), nan=-1.0), kind="stable")]
    else:
        chosen = live[np.argsort(-value[0, live], kind="stable")] if sort == "strong" else live
    rest = np.setdiff1d(np.arange(image.shape[1]), chosen)
    return np.concatenate([chosen, rest])[: min(count, image.shape[1])]


@dataclass(frozen=True)
class PatchWindow:
    """The part of the image that a layer's units can see: `size` (rows, cols) px about each position, its receptive field.

    A side as long as the image's is the image's own side. `field` is None for a vector, and where the layer could not be
    followed from the pixels (`exact` is False then); the whole image stands for the receptive field there.
    """

    picture: tuple[int, int]
    size: tuple[int, int]
    grid: tuple[int, int]
    field: Field | None
    exact: bool = True

    @property
    def whole(self) -> bool:
        """Whether the window is the whole image."""
        return self.size == self.picture

    def box(self, row: int, col: int) -> tuple[int, int, int, int]:
        """(top, bottom, left, right) of the window of position (row, col), in pixels; it may leave the image."""
        spans = (self.field.rows(int(row)), self.field.cols(int(col))) if self.field is not None else ((0, 0), (0, 0))
        edges: list[int] = []
        for (first, last), size, side in zip(spans, self.size, self.picture, strict=True):
            near = (
                0 if size >= side else (first + last + 1 - size) // 2
            )  # positions at a rim may see less than the largest field
            edges += [near, near + size]
        return edges[0], edges[1], edges[2], edges[3]

    def centre(self, row: int, col: int) -> tuple[float, float]:
        """The pixel that position (row, col) is centred on; the image's middle for a vector."""
        if self.field is None:
            return (self.picture[0] - 1) / 2, (self.picture[1] - 1) / 2
        (down, across), (tall, wide) = self.field.center, self.field.jump
        return down + tall * row, across + wide * col

    def cell(self, row: int, col: int) -> tuple[float, float, float, float]:
        """(top, bottom, left, right) edges of the position itself in pixels, within the image: its fraction of an even tiling."""
        assert self.field is not None
        edges: list[float] = []
        for centre, jump, side in zip(self.centre(row, col), self.field.jump, self.picture, strict=True):
            near = centre - jump / 2 + 0.5
            edges += [float(np.clip(near, 0, side - 1)), float(np.clip(near + jump, 1, side))]
        return edges[0], edges[1], edges[2], edges[3]


def patch_windows(specimen: Specimen, names: Sequence[str]) -> dict[str, PatchWindow]:
    """The window of each layer in an image of the recipe's size, from one forward pass of an even image."""
    rows, cols = specimen.recipe.size
    known = receptive_fields(specimen, names)
    windows: dict[str, PatchWindow] = {}
    for name in names:
        layer = specimen.layer(name)
        field = known.get(name) if layer.grid is not None and layer.layout != "vector" else None
        size = (rows, cols) if field is None else tuple(map(int, np.minimum(field.size, (rows, cols))))
        exact = layer.layout == "vector" or (field is not None and field.exact)
        windows[name] = PatchWindow((rows, cols), (size[0], size[1]), layer.grid or (1, 1), field, exact)
    return windows


def crop_patch(pixels: Values, window: PatchWindow, row: int, col: int, fill: Sequence[float]) -> Values:
    """The window of position (row, col) cut out of `pixels` (row, col, rgb) of any type; `fill` where it leaves the image."""
    top, bottom, left, right = window.box(row, col)
    patch = np.empty((bottom - top, right - left, pixels.shape[2]), pixels.dtype)
    patch[:] = fill
    rows, cols = window.picture
    inside = np.s_[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, cols)]
    patch[max(-top, 0) : min(bottom, rows) - top, max(-left, 0) : min(right, cols) - left] = pixels[inside]
    return patch


def shrunk_size(size: tuple[int, int], most: int) -> tuple[int, int]:
    """(rows, cols) in the same proportion, no side longer than `most`."""
    share = min(1.0, most / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def mean_levels(recipe: Recipe) -> list[float]:
    """The rgb levels 0 to 255 that are zero after normalisation; middle grey where images are shown by some of their bands."""
    return [128.0] * 3 if recipe.channels not in (1, 3) else [255 * level for level in (recipe.mean * 3)[:3]]


def mean_colour(recipe: Recipe) -> list[int]:
    """`mean_levels` as uint8."""
    return [int(np.clip(round(level), 0, 255)) for level in mean_levels(recipe)]


def crop_patches(images: Images, recipe: Recipe, window: PatchWindow, image: Values, cell: Values, most: int) -> Values:
    """The patches of units, uint8 (unit, rank, row, col, rgb), for places (rank, unit); mean colour where there is none.

    Longer sides than `most` px are averaged down. Where the window is the whole image, a frame marks the position.
    """
    fill = mean_colour(recipe)
    rows, cols = shrunk_size(window.size, most)
    made = np.empty((image.shape[1], image.shape[0], rows, cols, 3), np.uint8)
    made[:] = fill
    for unit in range(image.shape[1]):
        ranks = np.flatnonzero(image[:, unit] >= 0)
        if not len(ranks):
            continue
        pixels = images.pixels(recipe, image[ranks, unit])
        for rank, picture in zip(ranks, pixels, strict=True):
            row, col = divmod(int(cell[rank, unit]), window.grid[1])
            patch = Image.fromarray(crop_patch(picture, window, row, col, fill))
            if patch.size != (cols, rows):
                patch = patch.resize((cols, rows), Image.Resampling.BOX)
            made[unit, rank] = np.asarray(patch)
            if window.whole and window.field is not None and window.grid != (1, 1):
                _draw_frame(made[unit, rank], window.cell(row, col), rows / window.picture[0], cols / window.picture[1])
    return made


def _draw_frame(patch: Values, edges: tuple[float, float, float, float], tall: float, wide: float) -> None:
    """Draws a frame along `edges` (top, bottom, left, right), white with black around it, so that it shows on any image."""
    top, bottom, left, right = (round(edge * scale) for edge, scale in zip(edges, (tall, tall, wide, wide), strict=True))
    for away, colour in ((1, 0), (0, 255)):
        rows = np.clip([top - away, bottom - 1 + away], 0, patch.shape[0] - 1)
        cols = np.clip([left - away, right - 1 + away], 0, patch.shape[1] - 1)
        patch[rows[0] : rows[1] + 1, cols] = colour
        patch[rows, cols[0] : cols[1] + 1] = colour


def grid_position(window: PatchWindow, cell: Values) -> tuple[Values, Values]:
    """Rows and columns of positions counted row by row; -1 for none."""
    across = window.grid[1]
    return np.where(cell < 0, -1, cell // across), np.where(cell < 0, -1, cell % across)


__all__ = [
    "PatchWindow",
    "choose_units",
    "crop_patch",
    "crop_patches",
    "grid_position",
    "mean_colour",
    "nonzero_peaks",
    "patch_windows",
    "shrunk_size",
    "strongest_activations",
]
