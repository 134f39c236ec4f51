"""Generated scenes: one lit object in a landscape, with its exact mask and every difficulty a control.

Source: the synthetic composites asked for by claims about object size and clutter: there is no other way to know the mask
exactly and to change one difficulty while all others stay. A scene belongs to its (seed, index) alone: the same at any size,
in any order. All control draws come from one fixed row of uniform numbers, so that narrowing one range moves no other draw.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from microtome.errors import BadOption, UnknownName, did_you_mean

Floats = NDArray[np.floating[Any]]
Range = tuple[float, float]


def _star_text(u: Floats, v: Floats) -> Any:
    fold = np.abs((np.arctan2(u, v) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # angle from the nearest of five tips
    radius = np.hypot(u, v)
    return radius * (np.sin(np.pi / 5 - fold) * 0.48 + np.sin(fold)) <= 0.48 * np.sin(np.pi / 5)


def _heart(u: Floats, v: Floats) -> Any:
    lobes = (np.abs(u) - 0.47) ** 2 + (v - 0.33) ** 2 <= 0.49**2
    point = (np.abs(u) * 1.02 - v <= 0.94) & (v <= 0.42) & (np.abs(u) <= 0.96)
    return lobes | (point & (np.abs(u) + np.abs(v - 0.33) * 0.2 <= 0.82 + 0.3 * np.clip(v - 0.05, -1, 0.28)))


# Each says which points of the square [-1, 1] x [-1, 1] belong to the object; u points right, v points up.
_SHAPES: dict[str, Callable[[Floats, Floats], Any]] = {
    "disc": lambda u, v: u * u + v * v <= 1,
    "square": lambda u, v: (np.abs(u) <= 0.9) & (np.abs(v) <= 0.9),
    "triangle": lambda u, v: (v >= -0.8) & (np.abs(u) * 1.6 + v <= 0.8),
    "star": _star_text,
    "cross": lambda u, v: (np.minimum(np.abs(u), np.abs(v)) <= 0.32) & (np.maximum(np.abs(u), np.abs(v)) <= 1),
    "ring": lambda u, v: (u * u + v * v <= 1) & (u * u + v * v >= 0.3),
    "crescent": lambda u, v: (u * u + v * v <= 1) & ((u - 0.45) ** 2 + v * v >= 0.6),
    "heart": _heart,
    "arrow": lambda u, v: ((v >= -0.05) & (np.abs(u) * 1.15 + v <= 0.98)) | ((np.abs(u) <= 0.36) & (v <= 0) & (v >= -0.98)),
    "hourglass": lambda u, v: (np.abs(v) <= 1) & (np.abs(u) <= 0.1 + 0.75 * np.abs(v)),
}
CLASSES: tuple[str, ...] = tuple(_SHAPES)

# Sky at the top, sky at the horizon, ground at the horizon, ground at the bottom: one row is one hour and one country.
_PALETTES: Floats = np.array(
    [
        [(0.28, 0.50, 0.80), (0.78, 0.88, 0.94), (0.52, 0.66, 0.42), (0.26, 0.42, 0.22)],
        [(0.20, 0.32, 0.58), (0.96, 0.76, 0.58), (0.62, 0.48, 0.36), (0.34, 0.24, 0.20)],
        [(0.46, 0.66, 0.78), (0.90, 0.90, 0.84), (0.86, 0.76, 0.56), (0.68, 0.52, 0.34)],
        [(0.40, 0.46, 0.54), (0.74, 0.76, 0.78), (0.46, 0.52, 0.50), (0.26, 0.32, 0.32)],
        [(0.30, 0.58, 0.66), (0.84, 0.92, 0.86), (0.90, 0.93, 0.96), (0.62, 0.70, 0.80)],
        [(0.24, 0.18, 0.40), (0.86, 0.52, 0.56), (0.36, 0.30, 0.42), (0.18, 0.16, 0.26)],
    ],
    dtype=np.float32,
)
_DISTRACTORS = 22  # what clutter = 1 shows
_FINE = 4  # sub-pixels along each axis in which the coverage of a pixel is counted
_ANGLE = np.linspace(0, 2 * np.pi, 28, endpoint=False)[:, None]
_STEPS = np.linspace(-1, 1, 9)[:, None]
_TEETH = np.where(np.arange(9) % 2, 0.4, -0.4)[:, None]
_DRAWS = {"area": 0, "clutter": 1, "contrast": 2, "row": 3, "col": 4, "horizon": 5, "colour": 6, "tilt": 7, "palette": 8}


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The ranges that a scene's difficulties are drawn from; (0.3, 0.3) holds one still.

    Raises: BadOption for a range that is reversed or leaves its limits, UnknownName for a class that does not exist.
    """

    area: Range = (0.02, 0.5)  # fraction of the image that the object covers, drawn log-uniformly
    clutter: Range = (0.0, 1.0)  # how many of the distractors stand in the background
    contrast: Range = (0.3, 1.0)  # 0: the object's mean colour is that of the background behind it
    row: Range = (0.0, 1.0)  # where the object's centre may be, as fractions of the height from the top
    col: Range = (0.0, 1.0)  # likewise from the left
    horizon: Range = (0.35, 0.7)  # the row where sky and ground meet, as a fraction of the height
    colour: Range | None = None  # hues of the object in turns of the colour circle (0 red, 1/3 green); None: any
    classes: tuple[str, ...] = CLASSES

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if field.name == "classes" or given is None:
                continue
            low, high = (1e-4, 0.9) if field.name == "area" else (0.0, 1.0)
            if not (len(given) == 2 and low <= given[0] <= given[1] <= high):
                raise BadOption(
                    f"scenes: {field.name}={given} is no range; give (low, high) with {low} <= low <= high <= {high}."
                )
        if not self.classes:
            raise BadOption(f"scenes: classes is empty; name at least one of {', '.join(CLASSES)}.")
        for name in self.classes:
            if name not in CLASSES:
                raise UnknownName(f"scenes: there is no class '{name}'.{did_you_mean(name, CLASSES)}")


@dataclass(frozen=True)
class Scene:
    """One image, its exact mask (coverage of the pixel >= 1/2), its class and what was drawn for it."""

    pixels: NDArray[np.uint8]  # (row, col, rgb)
    mask: NDArray[np.bool_]  # (row, col)
    label: int  # position in CLASSES, also where only some classes are asked for
    facts: dict[str, float]  # area (measured on the mask), clutter, contrast, row, col, horizon, hue


def scene(index: int, *, seed: int = 0, size: int | tuple[int, int] = 64, controls: Controls | None = None) -> Scene:
    """Scene number `index` of the endless series `seed`, drawn at `size` (px, or rows and cols); classes take turns.

    An object too large for the frame is shrunk until it fits: `facts["area"]` is always what was really drawn.
    Raises: BadOption for a negative index or seed, or a side below 8 px.
    """
    controls = Controls() if controls is None else controls
    rows, cols = (size, size) if isinstance(size, int) else size
    if index < 0 or seed < 0 or min(rows, cols) < 8:
        raise BadOption(f"scenes: index={index}, seed={seed}, size={rows}x{cols}: index and seed start at 0, a side at 8 px.")
    name = controls.classes[index % len(controls.classes)]
    draw = np.random.default_rng([seed, index, 0]).random(16)
    facts = {key: _between(getattr(controls, key), draw[_DRAWS[key]]) for key in ("clutter", "contrast", "horizon")}
    facts["hue"] = _between(controls.colour or (0.0, 1.0), draw[_DRAWS["colour"]])
    low, high = np.log(controls.area)
    tilt = np.deg2rad(36 * draw[_DRAWS["tilt"]] - 18)
    scale, half = _fitted(name, np.exp(low + (high - low) * draw[_DRAWS["area"]]), tilt, rows, cols)
    row = _placed(controls.row, draw[_DRAWS["row"]], half[0], rows)
    col = _placed(controls.col, draw[_DRAWS["col"]], half[1], cols)

    palette = _PALETTES[int(draw[_DRAWS["palette"]] * len(_PALETTES))]
    back = _backdrop(np.random.default_rng([seed, index, 1]), rows, cols, facts["horizon"], palette)
    back = _cluttered(back, np.random.default_rng([seed, index, 2]), facts["clutter"], palette)
    coverage = _coverage(name, rows, cols, (row * rows, col * cols), scale, tilt, half)
    mask = coverage >= 0.5
    paint = _painted(back, coverage, row * rows, scale, facts["hue"], facts["contrast"])
    pixels = np.clip(paint * 255 + 0.5, 0, 255).astype(np.uint8)
    facts |= {"area": float(mask.mean()), "row": row, "col": col}
    return Scene(pixels, mask, CLASSES.index(name), {key: float(value) for key, value in sorted(facts.items())})


def _between(span: Range, draw: float) -> float:
    return span[0] + (span[1] - span[0]) * draw


@cache
def _outline(name: str) -> tuple[float, Floats]:
    """The shape's area in its own square, and points (point, 2) of its hull as (u, v); counted once on a fine grid."""
    axis = (np.arange(1000, dtype=np.float32) + 0.5) / 500 - 1
    inside = _SHAPES[name](axis[None, :], axis[:, None])
    at = [
        (axis[cells[end]], axis[row])
        for row, line in enumerate(inside)
        if (cells := np.flatnonzero(line)).size
        for end in (0, -1)
    ]
    return float(inside.mean() * 4), np.array(at, dtype=np.float32)


def _fitted(name: str, area: float, tilt: float, rows: int, cols: int) -> tuple[float, tuple[float, float]]:
    """Pixels per unit of the shape for that fraction of the image, and the tilted object's half height and width (px)."""
    unit, hull = _outline(name)
    half_col = np.abs(hull[:, 0] * np.cos(tilt) - hull[:, 1] * np.sin(tilt)).max()
    half_row = np.abs(hull[:, 0] * np.sin(tilt) + hull[:, 1] * np.cos(tilt)).max()
    scale = min(np.sqrt(area * rows * cols / unit), 0.49 * rows / half_row, 0.49 * cols / half_col)
    return float(scale), (float(half_row * scale), float(half_col * scale))


def _placed(span: Range, draw: float, half: float, side: int) -> float:
    """The centre along one axis, as a fraction of it: uniform over the part of `span` where the whole object stays in the frame."""
    edge = half / side
    low, high = np.clip(span, edge, 1 - edge)
    return float(low + (high - low) * draw)


def _noise(rng: np.random.Generator, rows: int, cols: int, grid: tuple[int, int]) -> Floats:
    """Smooth noise (row, col), about -1..1: random numbers on a lattice that knows no pixels, so every size shows the same."""
    lattice = Image.fromarray(rng.uniform(-1, 1, grid).astype(np.float32))
    return np.asarray(lattice.resize((cols, rows), Image.Resampling.BICUBIC))


def _backdrop(rng: np.random.Generator, rows: int, cols: int, horizon: float, palette: Floats) -> Floats:
    """Sky over ground (row, col, rgb) in 0..1: gradients, clouds, a ridge on the horizon, ground grained by distance."""
    palette = palette + rng.uniform(-0.05, 0.05, palette.shape).astype(np.float32)
    at = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows
    ridge = horizon + 0.03 * _noise(rng, 1, cols, (1, 6)) + 0.012 * _noise(rng, 1, cols, (1, 17))
    above = np.clip(at / horizon, 0, 1)[..., None]
    below = np.clip((at - horizon) / (1 - horizon), 0, 1)[..., None]
    clouds = 0.10 * np.maximum(_noise(rng, rows, cols, (9, 4)) + 0.4 * _noise(rng, rows, cols, (20, 10)), -0.2)
    grain = 0.05 * _noise(rng, rows, cols, (14, 7)) + 0.035 * _noise(rng, rows, cols, (56, 40))
    sky = palette[0] + (palette[1] - palette[0]) * above**1.4 + (clouds * (1.1 - 0.7 * above[..., 0]))[..., None]
    ground = palette[2] + (palette[3] - palette[2]) * below**0.8 + (grain * (0.5 + 0.9 * below[..., 0]))[..., None]
    share = np.clip((at - ridge) * rows + 0.5, 0, 1)[..., None]  # anti-aliased: how much of the pixel lies under the ridge
    return (sky + (ground - sky) * share).astype(np.float32)


def _cluttered(back: Floats, rng: np.random.Generator, clutter: float, palette: Floats) -> Floats:
    """`back` with distractors that belong to no class: long blobs, hatched patches, strokes, zigzags and bows.

    More clutter shows more of the same list, so that raising it adds and never moves.
    """
    count = round(clutter * _DISTRACTORS)
    rows, cols = back.shape[:2]
    side = 2 * float(np.sqrt(rows * cols))  # drawn at twice the size
    draws = rng.random((_DISTRACTORS, 24))
    if not count:
        return back
    plain = np.clip(back * 255, 0, 255).astype(np.uint8)
    sheet = Image.fromarray(plain).resize((2 * cols, 2 * rows), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(sheet)
    for number, draw in enumerate(draws[:count]):
        tint = palette[int(draw[0] * 4)] * (0.55 + 0.8 * draw[1]) + 0.22 * (draw[2:5].astype(np.float32) - 0.5)
        fill = tuple(int(value) for value in np.clip(tint * 255, 0, 255))
        centre = np.array([draw[5] * 2 * cols, draw[6] * 2 * rows])
        turn, reach = np.pi * draw[7], side * (0.05 + 0.09 * draw[8])
        along = np.array([np.cos(turn), np.sin(turn)])
        _plotted_tensors(
            pen, number % 5, fill, centre, along * reach, draw[9:], max(1, round(side * (0.006 + 0.010 * draw[9])))
        )
    drawn = np.asarray(sheet.reduce(2), dtype=np.float32) / 255
    return back + (drawn - plain.astype(np.float32) / 255)


def _plotted_tensors(
    pen: ImageDraw.ImageDraw, kind: int, fill: tuple[int, ...], centre: Any, along: Any, draw: Any, width: int
) -> None:
    """One distractor onto the sheet; `along` is its half axis in sheet pixels."""
    across = np.array([-along[1], along[0]])
    if kind == 0:  # a blob at least twice as long as wide, with a wavy outline
        wave = 1 + 0.20 * np.sin(2 * _ANGLE + 6 * draw[1]) + 0.07 * np.sin(3 * _ANGLE + 6 * draw[2])
        points = centre + wave * (1.2 * np.cos(_ANGLE) * along + (0.25 + 0.20 * draw[3]) * np.sin(_ANGLE) * across)
        pen.polygon(points.ravel().tolist(), fill=fill)
    elif kind == 1:  # hatching: parallel strokes of uneven length
        for number, step in enumerate((-0.7, -0.35, 0.0, 0.35, 0.7)):
            ends = [
                centre + step * across - along * (0.3 + 0.7 * draw[1 + number]),
                centre + step * across + along * draw[6 + number],
            ]
            pen.line([*ends[0].tolist(), *ends[1].tolist()], fill=fill, width=max(1, width // 2))
    elif kind == 2:  # one straight stroke
        pen.line([*(centre - 1.6 * along).tolist(), *(centre + 1.6 * along).tolist()], fill=fill, width=width)
    else:  # a zigzag, or an open bow
        swing = _TEETH if kind == 3 else 0.8 * (0.4 - _STEPS**2)
        points = centre + 1.3 * _STEPS * along + swing * (0.5 + draw[1]) * across
        pen.line(points.ravel().tolist(), fill=fill, width=width, joint="curve")


def _coverage(name: str, rows: int, cols: int, centre: Range, scale: float, tilt: float, half: Range) -> Floats:
    """The fraction of each pixel (row, col) that the object covers, counted on 4 x 4 sub-pixels."""
    coverage = np.zeros((rows, cols), dtype=np.float32)
    top, left = (max(0, int(middle - reach) - 1) for middle, reach in zip(centre, half, strict=True))
    bottom, right = (min(side, int(c + h) + 2) for side, c, h in zip((rows, cols), centre, half, strict=True))
    down = (top + (np.arange((bottom - top) * _FINE, dtype=np.float32)[:, None] + 0.5) / _FINE - centre[0]) / scale
    over = (left + (np.arange((right - left) * _FINE, dtype=np.float32)[None, :] + 0.5) / _FINE - centre[1]) / scale
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    inside = _SHAPES[name](over * cos - down * sin, -over * sin - down * cos)
    coverage[top:bottom, left:right] = inside.reshape(bottom - top, _FINE, right - left, _FINE).mean(
        axis=(1, 3), dtype=np.float32
    )
    return coverage


def _painted(back: Floats, coverage: Floats, middle: float, scale: float, hue: float, contrast: float) -> Floats:
    """`back` with the object: its colour at distance `contrast` from what it hides, lit from above, edges bevelled."""
    rows = coverage.shape[0]
    hidden = (back * coverage[..., None]).sum(axis=(0, 1)) / coverage.sum()
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1).astype(np.float32)
    bright, dark = 0.42 + 0.58 * wheel, 0.08 + 0.42 * wheel
    colour = max((bright, dark), key=lambda colour_: float(np.square(colour_ - hidden).sum()))
    soft = Image.fromarray((coverage * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(max(0.6, 0.10 * scale)))
    relief = np.asarray(soft, dtype=np.float32) / 255
    step = max(1, round(0.08 * scale))
    padded = np.pad(relief, ((step, step), (0, 0)), mode="edge")
    edge = padded[2 * step :] - padded[: -2 * step]  # positive where the outline faces up
    fall = (middle - np.arange(rows, dtype=np.float32) - 0.5)[:, None] / scale
    light = 0.13 * np.clip(fall, -1, 1) + 0.30 * edge
    light -= (light * coverage).sum() / coverage.sum()  # the mean colour is the contrast's business
    body = hidden + contrast * (colour - hidden + light[..., None])
    return back + (body - back) * coverage[..., None]
