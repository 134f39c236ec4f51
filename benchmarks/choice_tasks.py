"""Generated tasks of the benchmark of choice: labels that no shipped network was trained on, training and test images of other seeds.

The mini networks learnt to name ten shapes on scenes like these (`microtome.images.scenes`). Here the labels are six letters, six
textures, the number of objects, or the hue of the object. Backgrounds and clutter are those of the scenes, so features of the background
are known to the mini networks; the labels are not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from microtome.images import Images
from microtome.images.scenes import Controls, Range, scene

Pixels = np.ndarray[Any, Any]
SIDE = 64  # px
FINE = 4  # sub-pixels along each axis of a mask
TRAINING_SEED, TEST_SEED = 7_100_000, 7_900_000  # far from those that networks of ours learnt from or were judged on
STROKES: dict[str, tuple[tuple[float, float, float, float], ...]] = {  # lines in [-1, 1] x [-1, 1], y downwards
    "L": ((-0.6, -0.9, -0.6, 0.8), (-0.6, 0.8, 0.7, 0.8)),
    "T": ((-0.8, -0.8, 0.8, -0.8), (0.0, -0.8, 0.0, 0.9)),
    "U": ((-0.7, -0.9, -0.7, 0.8), (-0.7, 0.8, 0.7, 0.8), (0.7, 0.8, 0.7, -0.9)),
    "Z": ((-0.7, -0.8, 0.7, -0.8), (0.7, -0.8, -0.7, 0.8), (-0.7, 0.8, 0.7, 0.8)),
    "H": ((-0.7, -0.9, -0.7, 0.9), (0.7, -0.9, 0.7, 0.9), (-0.7, 0.0, 0.7, 0.0)),
    "K": ((-0.6, -0.9, -0.6, 0.9), (-0.6, 0.1, 0.7, -0.8), (-0.2, -0.1, 0.7, 0.9)),
}
STROKE_WIDTH = 0.36
LETTERS, TEXTURES = tuple(STROKES), ("stripes", "checks", "dots", "rings", "noise", "zigzag")
COUNTS, HUES = ("1", "2", "3", "4"), ("red", "yellow", "green", "cyan", "blue", "magenta")
WARM_LIGHT = np.array([1.0, 0.72, 0.45])  # gains of red, green and blue in the shifted test images


@dataclass(frozen=True)
class Split:
    """Images uint8 (image, row, col, rgb) with labels (image,)."""

    pixels: Pixels
    labels: Pixels

    def images(self, classes: tuple[str, ...]) -> Images:
        return Images.tensors(self.pixels, labels=self.labels, classes=list(classes))


@dataclass(frozen=True)
class Task:
    """A task: its classes, what of it candidates have seen in their training, and its images; draws differ in their training images."""

    name: str
    title: str
    classes: tuple[str, ...]
    overlap: str
    real: bool
    training: Callable[[int], Split]
    test: Callable[[], Split]


Painter = Callable[[np.random.Generator, int, int, int], Pixels]  # random numbers, label, index, seed -> image


def letters(area: Range, clutter: Range, contrast: Range = (0.7, 1.0)) -> Painter:
    """One letter of a random colour, somewhere."""

    def paint(random: np.random.Generator, label: int, index: int, seed: int) -> Pixels:
        back = background(index, seed, clutter)
        mask = letter_mask(LETTERS[label], random.uniform(*np.log(area)), random)
        return blend(back, mask, striking_colour(back, mask, random.random()), random.uniform(*contrast))

    return paint


def textures(random: np.random.Generator, label: int, index: int, seed: int) -> Pixels:
    """A blob in two random colours, whose texture is the class."""
    back = background(index, seed, (0.0, 0.5))
    mask = blob_mask(random.uniform(0.12, 0.4), random)
    first, second = (hue_colour(random.random(), value)[None, None] for value in (0.95, 0.35))
    field = texture_field(TEXTURES[label], random)[..., None]
    return blend(back, mask, first * field + second * (1 - field), 1.0)


def counts(random: np.random.Generator, label: int, index: int, seed: int) -> Pixels:
    """One to four blobs that do not touch, each of a random colour."""
    image, used = background(index, seed, (0.0, 0.3)), np.zeros((SIDE, SIDE))
    placed = 0
    while placed <= label:
        mask = blob_mask(random.uniform(0.02, 0.05), random)
        if ((mask > 0) & (used > 0)).any():
            continue
        image = blend(image, mask, striking_colour(image, mask, random.random()), 1.0)
        used = np.maximum(used, mask)
        placed += 1
    return image


def hues(random: np.random.Generator, label: int, index: int, seed: int) -> Pixels:
    """One letter or blob, whose hue is the class."""
    back = background(index, seed, (0.0, 0.6))
    area = random.uniform(*np.log((0.03, 0.15)))
    mask = letter_mask(LETTERS[index // len(HUES) % len(LETTERS)], area, random)
    if random.random() < 0.5:
        mask = blob_mask(float(np.exp(area)), random)
    hue = (label + random.uniform(-0.3, 0.3)) / len(HUES)
    return blend(back, mask, hue_colour(hue % 1, random.uniform(0.5, 0.95)), 1.0)


def background(index: int, seed: int, clutter: Range) -> Pixels:
    """A scene (row, col, rgb) in 0..1 whose object is a patch of four pixels without contrast."""
    controls = Controls(area=(0.001, 0.001), contrast=(0.0, 0.0), clutter=clutter)
    return scene(index, seed=seed, size=SIDE, controls=controls).pixels / 255.0


@cache
def stroke_area(letter: str) -> float:
    """The area of a letter in its own square of side 2."""
    return float(_letter_sheet(letter, 200.0, 0.0, (256.0, 256.0), 512).mean() * 512**2 / 200.0**2)


def letter_mask(letter: str, log_area: float, random: np.random.Generator) -> Pixels:
    """Coverage (row, col) in 0..1 of a letter of that area (log of a fraction of the image), turned by up to 20 degrees."""
    scale = min(float(np.sqrt(np.exp(log_area) * SIDE**2 / stroke_area(letter))), 0.42 * SIDE)
    centre = placed(1.1 * scale, random)
    sheet = _letter_sheet(
        letter, scale * FINE, np.deg2rad(random.uniform(-20, 20)), (centre[0] * FINE, centre[1] * FINE), SIDE * FINE
    )
    return _coarse(sheet)


def _letter_sheet(letter: str, scale: float, turn: float, centre: tuple[float, float], side: int) -> Pixels:
    sheet = Image.new("L", (side, side))
    pen, width = ImageDraw.Draw(sheet), max(1, round(STROKE_WIDTH * scale))
    cos, sin = np.cos(turn), np.sin(turn)
    for x0, y0, x1, y1 in STROKES[letter]:
        ends = [
            (centre[1] + scale * (x * cos - y * sin), centre[0] + scale * (x * sin + y * cos)) for x, y in ((x0, y0), (x1, y1))
        ]
        pen.line([*ends[0], *ends[1]], fill=1, width=width)
        for x, y in ends:
            pen.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=1)
    return np.asarray(sheet, dtype=np.float64)


def blob_mask(area: float, random: np.random.Generator) -> Pixels:
    """Coverage (row, col) in 0..1 of a round blob with a wavy outline."""
    radius = min(float(np.sqrt(area / np.pi)) * SIDE, 0.4 * SIDE)
    row, col = placed(1.2 * radius, random)
    phase = random.uniform(0, 2 * np.pi, 2)
    at = (np.arange(SIDE * FINE) + 0.5) / FINE
    down, over = at[:, None] - row, at[None, :] - col
    angle = np.arctan2(down, over)
    outline = radius * (1 + 0.12 * np.sin(2 * angle + phase[0]) + 0.06 * np.sin(3 * angle + phase[1]))
    return _coarse((np.hypot(down, over) <= outline).astype(np.float64))


def placed(reach: float, random: np.random.Generator) -> tuple[float, float]:
    """The centre (row, col) of an object that reaches so far, inside the image where it fits."""
    edge = min(reach, SIDE / 2)
    row, col = random.uniform(edge, SIDE - edge, 2)
    return float(row), float(col)


def _coarse(sheet: Pixels) -> Pixels:
    return sheet.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))


def texture_field(name: str, random: np.random.Generator) -> Pixels:
    """A texture (row, col) in 0..1, turned, shifted and scaled at random."""
    turn, period = random.uniform(0, 2 * np.pi), random.uniform(5.0, 9.0)
    shift = random.uniform(0, 2 * np.pi, 2)
    down, over = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    u = 2 * np.pi / period * (over * np.cos(turn) + down * np.sin(turn)) + shift[0]
    v = 2 * np.pi / period * (down * np.cos(turn) - over * np.sin(turn)) + shift[1]
    if name == "stripes":
        wave = np.sin(u)
    elif name == "checks":
        wave = np.sin(u) * np.sin(v)
    elif name == "dots":
        wave = np.cos(u) + np.cos(v) - 1.0
    elif name == "rings":
        middle = random.uniform(SIDE / 4, 3 * SIDE / 4, 2)
        wave = np.sin(2 * np.pi / period * np.hypot(down - middle[0], over - middle[1]))
    elif name == "zigzag":
        wave = np.sin(u + 1.5 * np.abs((v / np.pi) % 2 - 1) * np.pi)
    else:
        side = round(1.6 * SIDE / period)
        lattice = Image.fromarray(random.normal(size=(side, side)).astype(np.float32))
        wave = np.asarray(lattice.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)
    return 1 / (1 + np.exp(-6 * wave))


def hue_colour(hue: float, value: float) -> Pixels:
    """A colour (rgb) of three quarters saturation."""
    wheel = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return value * (0.25 + 0.75 * wheel)


def striking_colour(back: Pixels, mask: Pixels, hue: float) -> Pixels:
    """The colour of that hue, bright or dark, that is further from the mean of what the mask hides."""
    hidden = (back * mask[..., None]).sum((0, 1)) / mask.sum()
    return max((hue_colour(hue, value) for value in (0.95, 0.3)), key=lambda colour: float(np.square(colour - hidden).sum()))


def blend(back: Pixels, mask: Pixels, colour: Pixels, contrast: float) -> Pixels:
    """The background with the object's colour on it; of low contrast, the object is near the mean of what it hides."""
    hidden = (back * mask[..., None]).sum((0, 1)) / mask.sum()
    body = hidden + contrast * (colour - hidden)
    return back + (body - back) * mask[..., None]


def draw_split(painter: Painter, classes: int, count: int, seed: int, gains: Pixels | None = None) -> Split:
    """The first `count` images of a series, classes in turn; `gains` multiply the colours."""
    labels = np.arange(count) % classes
    images = [painter(np.random.default_rng([seed, index]), int(label), index, seed) for index, label in enumerate(labels)]
    stacked = np.stack(images) * (1.0 if gains is None else gains)
    return Split((np.clip(stacked, 0, 1) * 255 + 0.5).astype(np.uint8), labels)


def generated_tasks(training: int = 120, test: int = 300, few: int = 8) -> list[Task]:
    """All generated tasks; `few` is the number of training images of each class in the task of few samples."""
    backgrounds = "backgrounds and clutter of the mini networks' training scenes, other objects and labels"
    table: tuple[tuple[str, str, tuple[str, ...], Painter, int, Pixels | None], ...] = (
        ("small_objects", "six letters on 1.5 to 3% of the image", LETTERS, letters((0.015, 0.03), (0.0, 0.4)), training, None),
        ("large_objects", "six letters on 15 to 30% of the image", LETTERS, letters((0.15, 0.3), (0.0, 0.4)), training, None),
        ("clutter", "six letters of low contrast among distractors", LETTERS, letters((0.05, 0.12), (0.9, 1.0), (0.35, 0.7)), training,
         None),
        ("texture", "six textures of a blob, turned at random", TEXTURES, textures, training, None),
        ("few_samples", f"six letters, {few} training images of each", LETTERS, letters((0.06, 0.15), (0.0, 0.4)),
         few * len(LETTERS), None),
        ("colour_shift", "six letters, test images under warm light", LETTERS, letters((0.06, 0.15), (0.0, 0.4)), training,
         WARM_LIGHT),
        ("count", "one to four blobs", COUNTS, counts, training, None),
        ("hue", "six hues of a letter or blob", HUES, hues, training, None),
    )  # fmt: skip
    return [
        _generated(place, name, title, classes, painter, (training_count, test), gains, backgrounds)
        for place, (name, title, classes, painter, training_count, gains) in enumerate(table)
    ]


def _generated(
    place: int,
    name: str,
    title: str,
    classes: tuple[str, ...],
    painter: Painter,
    sizes: tuple[int, int],
    gains: Pixels | None,
    overlap: str,
) -> Task:
    def training(draw: int) -> Split:
        return draw_split(painter, len(classes), sizes[0], TRAINING_SEED + 1000 * place + draw)

    def test() -> Split:
        return draw_split(painter, len(classes), sizes[1], TEST_SEED + 1000 * place, gains)

    return Task(name, title, classes, overlap, False, training, test)
