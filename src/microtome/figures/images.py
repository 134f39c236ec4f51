"""Panels of pixels: Heat, Grid, Overlay."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize

from microtome.figures.paper import (
    DIVERGING,
    MISSING_COLOUR,
    SEQUENTIAL,
    Arrays,
    Paper,
    array_label,
    coordinates,
    escape_math,
    named_ticks,
    new_sheet,
    shorten,
)
from microtome.key_numbers import FRACTION, format_value
from microtome.panels import Grid, Heat, Overlay

Values = np.ndarray[Any, Any]
TILE_GAP = 0.08  # between tiles, of a tile
MAX_DOWN, MAX_ACROSS = 24, 24  # tiles on one page; more are counted in the corner
MAX_NAMED_TILES = 10  # tiles side by side that still leave room for a name above each
METHOD = "method"  # methods beside each other bear their verdicts
VERDICTS = {1: "beats baselines", 0: "undecided", -1: "no better than\nbaselines"}
CAPPED = 0.99  # fraction of a map's values below its last colour there, or a few pixels would leave all others dark
MAX_NUMBERED_CELLS = 120  # cells with their numbers in them


def plot_heat(arrays: Arrays, panel: Heat) -> Paper:
    """A matrix, its first dimension downwards; numbers in the cells where there are few; missing values pale grey."""
    array = arrays[panel.z]
    down, across = (str(dim) for dim in array.dims)
    values = array.values.astype(float)
    rows, cols = values.shape
    width, height = float(np.clip(0.2 * cols, 2.6, 8.0)), float(np.clip(0.2 * rows, 2.2, 8.0))
    if down.rstrip("_") == across.rstrip("_"):
        width = height = max(width, height)
    paper = new_sheet(panel, width + 1.9, height + 0.9)
    axes = paper.add_subplot()
    scale = _colour_scale(values, panel.scale, panel.low, panel.high)
    drawn = axes.imshow(
        values, cmap=_colormap(panel.scale), norm=scale, aspect="equal" if width == height and rows == cols else "auto"
    )
    named_ticks(axes, "y", coordinates(array, down), height)
    named_ticks(axes, "x", coordinates(array, across), width)
    axes.set_ylabel(escape_math(down.rstrip("_")))
    axes.set_xlabel(escape_math(across.rstrip("_")))
    axes.grid(visible=False)
    paper.colorbar(drawn, ax=axes, label=array_label(array, panel.z), shrink=0.8, aspect=25)
    if values.size <= MAX_NUMBERED_CELLS:
        _write_numbers(axes, values, scale)
    return paper


def plot_grid(arrays: Arrays, panel: Grid) -> Paper:
    """Tiles: `down` downwards, `across` to the right; without `down` they run on like lines of text, group by group."""
    array = arrays[panel.z]
    tiles, side, top, inside = _grouped_tiles(arrays, panel) if panel.groups else _tiles(array, panel)
    rows, cols = tiles.shape[:2]
    tiles = tiles[:MAX_DOWN, :MAX_ACROSS]
    paper, axes = _tile_sheet(panel, tiles.shape[0], tiles.shape[1], tiles.shape[2] / tiles.shape[3], side, top)
    flat = "rgb" not in array.dims
    common = None if panel.each else _colour_scale(tiles, panel.scale, None, None)
    for row, col in np.ndindex(tiles.shape[:2]):
        tile = tiles[row, col]
        number = row * cols + col
        if inside and (number >= len(inside) or inside[number] is None):
            continue  # past the last tile of a wrapped wall, or of a group
        picture = _colour_tile(tile, panel, common) if flat else _true_colours(tile, tiles if not panel.each else tile)
        _draw_tile(axes, picture, row, col)
        if not np.isfinite(tile).any() or (flat and not np.nan_to_num(tile).any()):
            _draw_empty_tile(axes, row, col)
        if inside and tiles.shape[1] <= MAX_NAMED_TILES and not panel.groups:
            axes.text(col + (1 - TILE_GAP) / 2, row - 0.01, shorten(inside[number], 16), ha="center", va="bottom", fontsize=5)
    if flat and common is not None:
        bar = ScalarMappable(common, _colormap(panel.scale))
        paper.colorbar(bar, ax=axes, label=array_label(array, panel.z), shrink=0.8, aspect=25)
    _note_left_out(axes, rows, cols)
    return paper


def plot_overlay(arrays: Arrays, panel: Overlay) -> Paper:
    """One row for each image: the image, then the image under each heat map; the mask's outline in white."""
    base, heats = arrays[panel.base], _first_maps(arrays[panel.heat], panel)
    names = [shorten(coordinate, 22) for coordinate in coordinates(heats, panel.across)] if panel.across else [""]
    methods = panel.across == METHOD
    if methods and panel.standing:
        names = [f"{name}\n{verdict_words(value)}" for name, value in zip(names, arrays[panel.standing].values, strict=True)]
    maps = (
        heats.transpose("image", panel.across, "row", "col").values
        if panel.across
        else heats.transpose("image", "row", "col").values[:, None]
    )
    pictures = _displayable(base.transpose("image", "row", "col", "rgb").values)
    rows, cols = len(pictures), maps.shape[1] + 1
    side = [shorten(coordinate, 22) for coordinate in coordinates(base, "image")]
    paper, axes = _tile_sheet(
        panel, min(rows, MAX_DOWN), min(cols, MAX_ACROSS), pictures.shape[1] / pictures.shape[2], side, ["image", *names]
    )
    for row, col in np.ndindex(min(rows, MAX_DOWN), min(cols, MAX_ACROSS)):
        picture = pictures[row]
        if col:
            spread = _map_extent(arrays, panel, row, col - 1)
            heat = maps[row, col - 1].astype(float)
            known = heat[np.isfinite(heat)]
            heat = np.minimum(heat, np.quantile(known, CAPPED) or np.inf) if methods and known.size else heat
            picture = _blend(picture, _upsample(heat, picture.shape[:2], spread))
        _draw_tile(axes, picture, row, col)
        if col and not (np.nan_to_num(maps[row, col - 1]) > 0).any():
            _draw_empty_tile(axes, row, col)
        if panel.mask:
            _draw_outline(axes, arrays[panel.mask].transpose("image", "row", "col").values[row].astype(bool), row, col)
    _note_left_out(axes, rows, cols)
    return paper


def verdict_words(standing: float) -> str:
    """What the number of a method's standing means, as it stands beside its name."""
    return VERDICTS[int(np.sign(standing))] if np.isfinite(standing) else "not measured"


def _first_maps(heats: xr.DataArray, panel: Overlay) -> xr.DataArray:
    """The maps that paper has room for: the last of the dimension with a slider, the first of others that are not laid out."""
    laid = {"image", panel.across, "row", "col"}
    return heats.isel({dim: -1 if dim == panel.slide else 0 for dim in heats.dims if str(dim) not in laid})


def _tiles(array: xr.DataArray, panel: Grid) -> tuple[Values, list[str], list[str], list[str | None]]:
    """Tiles as (down, across, row, col[, rgb]), names at the side, on top, and (for a wrapped wall) above each tile."""
    pixels = [dim for dim in ("row", "col", "rgb") if dim in array.dims]
    others = [str(dim) for dim in array.dims if str(dim) not in (*pixels, panel.across, panel.down)]
    right = [panel.across, *others]
    ordered = array.transpose(*([panel.down] if panel.down else []), *right, *pixels)
    values = ordered.values.astype(float)
    names = [_join_coordinates(place) for place in np.ndindex(*(array.sizes[dim] for dim in right))]
    named = any(dim in array.coords for dim in right)
    if named:
        names = [
            " ".join(_coordinate_text(coordinates(array, dim)[place]) for dim, place in zip(right, index, strict=True))
            for index in np.ndindex(*(array.sizes[dim] for dim in right))
        ]
    shape = values.shape[-len(pixels) :]
    if panel.down:
        side = [_coordinate_text(coordinate) for coordinate in coordinates(array, panel.down)]
        return values.reshape(len(side), -1, *shape), side, names, []
    wide = min(MAX_ACROSS, max(1, int(np.ceil(np.sqrt(len(names) * 1.6)))))
    high = -(-len(names) // wide)
    wall = np.full((high * wide, *shape), np.nan)
    wall[: len(names)] = values.reshape(len(names), *shape)
    return wall.reshape(high, wide, *shape), [], [], [*names]


def _grouped_tiles(arrays: Arrays, panel: Grid) -> tuple[Values, list[str], list[str], list[str | None]]:
    """Tiles in lines of text that break after each group of the first grouping, with the group's fraction at the side."""
    array, grouping = arrays[panel.z], arrays[panel.groups]
    pixels = [dim for dim in ("row", "col", "rgb") if dim in array.dims]
    values = array.transpose(panel.across, *pixels).values.astype(float)
    number = grouping.transpose(..., panel.across).values[0]
    wide = min(MAX_ACROSS, max(4, int(np.ceil(np.sqrt(len(values) * 1.6)))))
    lines: list[Values] = []
    side: list[str] = []
    for group in range(int(number.max(initial=-1)) + 1):
        members = np.flatnonzero(number == group)
        for start in range(0, len(members), wide):
            lines.append(np.pad(members[start : start + wide], (0, max(0, wide - len(members[start:]))), constant_values=-1))
            side.append(
                "" if start else f"group {group + 1}: {format_value(len(members) / len(values), FRACTION)} ({len(members)})"
            )
    places = np.concatenate(lines)
    wall = np.full((len(places), *values.shape[1:]), np.nan)
    wall[places >= 0] = values[places[places >= 0]]
    inside = [None if place < 0 else str(place) for place in places]
    return wall.reshape(len(lines), wide, *values.shape[1:]), side, [], inside


def _coordinate_text(coordinate: object) -> str:
    return f"{coordinate:g}" if isinstance(coordinate, float | np.floating) else str(coordinate)


def _join_coordinates(places: tuple[int, ...]) -> str:
    return " ".join(str(place) for place in places)


def _tile_sheet(
    panel: Grid | Overlay, rows: int, cols: int, aspect: float, side: list[str], top: list[str]
) -> tuple[Paper, Axes]:
    """A sheet with one square of the axes for each tile, names at the side and on top."""
    each = float(np.clip(7.5 / cols, 0.42, 1.5))
    beside = 0.072 * min(22, max((len(label) for label in side), default=0)) + 0.2
    lines = max((label.count("\n") + 1 for label in top), default=1)
    narrow = max((len(line) for label in top for line in label.split("\n")), default=0) * 0.06 > each and lines == 1
    above = 0.04 * min(22, max(map(len, top))) + 0.15 if narrow else (0.3 + 0.13 * (lines - 1) if top else 0.1)
    paper = new_sheet(panel, max(each * cols + beside, 2.8), max(each * rows * aspect, 0.8) + above + 0.1)
    axes = paper.add_subplot()
    axes.set_xlim(-TILE_GAP, cols)
    axes.set_ylim(rows, -0.14 if not top and not side else -TILE_GAP)
    axes.set_aspect(aspect)
    axes.set_anchor("E")  # what the fixed aspect leaves over goes to the names at the side
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    middle = (1 - TILE_GAP) / 2
    axes.set_yticks([row + middle for row in range(min(rows, len(side)))], [shorten(label, 22) for label in side[:rows]])
    axes.xaxis.tick_top()
    turned: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if narrow else {}
    axes.set_xticks(
        [col + middle for col in range(min(cols, len(top)))],
        [label if "\n" in label else shorten(label, 22) for label in top[:cols]],
        **turned,
    )
    if lines > 1:
        axes.tick_params(axis="x", labelsize=6.5)
    return paper, axes


def _draw_tile(axes: Axes, picture: Values, row: int, col: int) -> None:
    size = 1 - TILE_GAP
    axes.imshow(picture, extent=(col, col + size, row + size, row), aspect="auto")
    axes.set_aspect(picture.shape[0] / picture.shape[1])


def _draw_empty_tile(axes: Axes, row: int, col: int) -> None:
    middle = (1 - TILE_GAP) / 2
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
    axes.text(col + middle, row + middle, "empty", ha="center", va="center", fontsize=6, style="italic", bbox=box)


def _note_left_out(axes: Axes, rows: int, cols: int) -> None:
    if rows > MAX_DOWN or cols > MAX_ACROSS:
        note = f"the first {min(rows, MAX_DOWN)} of {rows} down, {min(cols, MAX_ACROSS)} of {cols} across"
        axes.set_xlabel(note, fontsize=6.5, style="italic")


def _colour_scale(values: Values, kind: str, low: float | None, high: float | None) -> Normalize:
    """Limits of the colour scale: given, else those of the values; a diverging scale has zero in its middle."""
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if kind == "diverging":
        far = max(abs(least), abs(most)) or 1.0
        least, most = -far, far
    least, most = least if low is None else low, most if high is None else high
    return Normalize(least, most if most > least else least + 1.0)


def _colormap(kind: str) -> Colormap:
    return mpl.colormaps[DIVERGING if kind == "diverging" else SEQUENTIAL].with_extremes(bad=MISSING_COLOUR)


def _colour_tile(tile: Values, panel: Grid, common: Normalize | None) -> Values:
    norm = common or _colour_scale(tile, panel.scale, None, None)
    return np.asarray(_colormap(panel.scale)(norm(np.ma.masked_invalid(tile))))[..., :3]


def _true_colours(tile: Values, reference: Values) -> Values:
    """Colours in [0, 1]: as they are where they fit, whole numbers of 255 divided, signed ones about middle grey."""
    known = reference[np.isfinite(reference)]
    most = float(np.abs(known).max()) if known.size else 1.0
    if known.size and known.min() < 0:
        tile = 0.5 + 0.5 * tile / most
    elif most > 1:
        tile = tile / (255.0 if (known == np.round(known)).all() and most <= 255 else most)
    return np.clip(np.nan_to_num(tile, nan=0.9), 0, 1)


def _displayable(pictures: Values) -> Values:
    return pictures / 255.0 if pictures.dtype == np.uint8 else np.clip(_true_colours(pictures.astype(float), pictures), 0, 1)


def _write_numbers(axes: Axes, values: Values, scale: Normalize) -> None:
    for (row, col), value in np.ndenumerate(values):
        if np.isfinite(value):
            shade = float(np.clip(scale(value), 0, 1))
            # Both scales are dark at their low end; the diverging one at its high end too.
            pale = shade < 0.5 if scale.vmin != -(scale.vmax or 0) else abs(shade - 0.5) > 0.35
            axes.text(col, row, f"{value:.2g}", ha="center", va="center", fontsize=6.5, color="white" if pale else "black")


def _map_extent(arrays: Arrays, panel: Overlay, image: int, place: int) -> tuple[float, float, float, float]:
    """Top, bottom, left and right edge of the map, as fractions of the image."""
    if not panel.extent:
        return 0.0, 1.0, 0.0, 1.0
    array = arrays[panel.extent]
    picks = {dim: image if dim == "image" else place for dim in map(str, array.dims) if dim != "axis"}
    top, bottom, left, right = array.isel(picks).values.astype(float)
    return float(top), float(bottom), float(left), float(right)


def _upsample(heat: Values, size: tuple[int, int], extent: tuple[float, float, float, float]) -> Values:
    """The positive heat at every pixel of the image, linear between the middles of its positions, placed by `extent`."""
    rows, cols = (
        _interpolation_weights(cells, pixels, low, high)
        for cells, pixels, (low, high) in zip(heat.shape, size, (extent[:2], extent[2:]), strict=True)
    )
    return rows @ np.clip(np.nan_to_num(heat), 0, None) @ cols.T


def _interpolation_weights(cells: int, pixels: int, low: float, high: float) -> Values:
    """How much each position counts at each pixel, as (pixel, position)."""
    middles = low + (np.arange(cells) + 0.5) / cells * (high - low)
    at = (np.arange(pixels) + 0.5) / pixels
    return np.stack([np.interp(at, middles, column) for column in np.eye(cells)], axis=1)


def _blend(picture: Values, heat: Values) -> Values:
    """The greyed image with the heat over it, the more opaque the hotter; each map on its own scale."""
    most = heat.max()
    share = heat / most if most > 0 else heat
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    opaque = 0.7 * np.sqrt(share)[..., None]
    return (1 - opaque) * grey + opaque * np.asarray(mpl.colormaps["inferno"](share))[..., :3]


def _draw_outline(axes: Axes, mask: Values, row: int, col: int) -> None:
    if mask.any() and not mask.all():
        size = 1 - TILE_GAP
        x = col + (np.arange(mask.shape[1]) + 0.5) / mask.shape[1] * size
        y = row + (np.arange(mask.shape[0]) + 0.5) / mask.shape[0] * size
        axes.contour(x, y, mask.astype(float), levels=[0.5], colors="black", linewidths=1.6)
        axes.contour(x, y, mask.astype(float), levels=[0.5], colors="white", linewidths=0.8)
