"""Generated scenes with an up and a down: a stack of two bodies above, on or below a horizon, lit from above or from below.

Source: weight banding is explained by images whose content depends on the vertical place (Petrov et al. 2021, Weight Banding,
distill.pub/2020/circuits/weight-banding); these scenes have that property by design, and each factor of it is a control: what the
horizon divides (sky and ground differ in colour, gradient and texture), where the stack stands, from where it is lit, which body lies
on which. Textures have a 1/f spectrum: octaves of smooth noise, each half as strong as the one twice as coarse. A scene belongs to its
(seed, index) alone: the same at any size, in any order.
"""

import hashlib
import inspect
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from microtome.errors import BadOption, UnknownName, did_you_mean
from microtome.images import generated
from microtome.images.collection import Images
from microtome.images.scenes import Scene

Floats = NDArray[np.floating[Any]]
Range = tuple[float, float]

# What a class can depend on, with its values; a factor outside the class is drawn at random.
FACTORS: dict[str, tuple[str, ...]] = {
    "place": ("above", "on", "below"),
    "light": ("top", "bottom"),
    "order": ("ball_up", "ball_down"),
    "body": ("block", "cross", "ring"),
}
_SKY: Floats = np.array([[(0.30, 0.48, 0.78), (0.76, 0.84, 0.90)], [(0.42, 0.46, 0.56), (0.72, 0.72, 0.74)],
                         [(0.24, 0.34, 0.56), (0.88, 0.72, 0.58)], [(0.34, 0.56, 0.66), (0.84, 0.90, 0.84)]])  # fmt: skip
_GROUND: Floats = np.array([[(0.50, 0.58, 0.40), (0.24, 0.36, 0.20)], [(0.58, 0.48, 0.36), (0.36, 0.26, 0.20)],
                            [(0.70, 0.62, 0.46), (0.54, 0.42, 0.28)], [(0.46, 0.48, 0.50), (0.24, 0.28, 0.30)]])  # fmt: skip
_OCTAVES = (2, 4, 8, 16, 32)
_DRAWS = {
    "horizon": 0,
    "radius": 1,
    "contrast": 2,
    "row": 3,
    "col": 4,
    "hue": 5,
    "sky": 6,
    "ground": 7,
    "clouds": 8,
    "grain": 9,
}
_FACTOR_DRAWS = 10  # the first of the draws that choose a factor outside the class
KIND = "horizon"
_FINE = 4  # sub-pixels along each axis in which the coverage of a pixel is counted


@dataclass(frozen=True, kw_only=True)
class HorizonControls:
    """What the class depends on, and the ranges of everything else; (0.5, 0.5) holds one still.

    Raises: BadOption for a range that is reversed or leaves its limits, UnknownName for a factor that does not exist.
    """

    factors: tuple[str, ...] = ("place", "light", "order")  # what the class is made of
    horizon: Range = (0.42, 0.58)  # the row where sky and ground meet, as a fraction of the height from the top
    radius: Range = (0.065, 0.085)  # of each body, as a fraction of the side; the stack is four radii high
    contrast: Range = (0.4, 0.9)  # of the light on the bodies
    col: Range = (0.0, 1.0)  # where the stack's axis may be, as fractions of the width from the left
    texture: Range = (0.10, 0.20)  # standard deviation of the ground's texture; the sky has half of it

    def __post_init__(self) -> None:
        limits = {"horizon": (0.4, 0.6), "radius": (0.02, 0.09)}
        for field in fields(self)[1:]:
            given, (low, high) = getattr(self, field.name), limits.get(field.name, (0.0, 1.0))
            if not (len(given) == 2 and low <= given[0] <= given[1] <= high):
                raise BadOption(
                    f"horizon: {field.name}={given} is no range; give (low, high) with {low} <= low <= high <= {high}."
                )
        if not self.factors or len(set(self.factors)) < len(self.factors):
            raise BadOption(f"horizon: factors={self.factors}; name one or more of {', '.join(FACTORS)}, each once.")
        for name in self.factors:
            if name not in FACTORS:
                raise UnknownName(f"horizon: there is no factor '{name}'.{did_you_mean(name, FACTORS)}")

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: every combination of the factors' values, the last factor fastest."""
        names = [""]
        for factor in self.factors:
            names = [f"{name}-{value}".removeprefix("-") for name in names for value in FACTORS[factor]]
        return tuple(names)


def horizon_images(
    count: int = 200,
    seed: int = 0,
    size: int = 64,
    factors: str = "place+light+order",
    horizon: Range = (0.42, 0.58),
    radius: Range = (0.065, 0.085),
    contrast: Range = (0.4, 0.9),
    col: Range = (0.0, 1.0),
    texture: Range = (0.10, 0.20),
) -> Images:
    """`count` scenes of `size` px as Images; `factors` joined by + make up the class, the ranges are those of `HorizonControls`.

    Raises:
        BadOption: a count, seed, size or range outside its limits, or no factor.
        UnknownName: there is no such factor.
    """
    count = generated.check_count(count, KIND)
    names = tuple(name for name in factors.split("+") if name)
    controls = HorizonControls(factors=names, horizon=horizon, radius=radius, contrast=contrast, col=col, texture=texture)
    horizon_scene(0, seed=seed, size=size, controls=controls)  # a size or seed that cannot be drawn is refused here
    source = generated.GeneratedSource(
        KIND,
        count,
        lambda number: horizon_scene(number, seed=seed, size=size, controls=controls),
        [_code_hash(), seed, size, repr(controls)],
    )
    spans = {field.name: list(getattr(controls, field.name)) for field in fields(controls)[1:]}
    options = {"count": count, "seed": seed, "size": size, "factors": factors, **spans}
    labels = np.arange(count) % len(controls.classes)
    return generated.generated_set(source, labels, controls.classes, f"{KIND}-{seed}", options)


def horizon_scene(index: int, *, seed: int = 0, size: int = 64, controls: HorizonControls | None = None) -> Scene:
    """Scene number `index` of the endless series `seed`, `size` px a side; classes take turns. Its mask covers both bodies.

    Raises: BadOption for a negative index or seed, or a side below 16 px.
    """
    controls = HorizonControls() if controls is None else controls
    if index < 0 or seed < 0 or size < 16:
        raise BadOption(f"horizon: index={index}, seed={seed}, size={size}: index and seed start at 0, a side at 16 px.")
    label = index % len(controls.classes)
    draw = np.random.default_rng([seed, index, 0]).random(16)
    values = _factor_values(label, controls, draw)
    horizon, radius, contrast = (
        _between(getattr(controls, key), draw[_DRAWS[key]]) for key in ("horizon", "radius", "contrast")
    )
    middle = _stack_middle(values["place"], horizon, radius, draw[_DRAWS["row"]])
    low, high = np.clip(controls.col, 1.5 * radius, 1 - 1.5 * radius)
    col = _between((float(low), float(high)), draw[_DRAWS["col"]])
    random = np.random.default_rng([seed, index, 1])
    paint = _landscape(random, size, horizon, controls.texture, draw)
    foot = middle + 2 * radius
    if values["place"] > 0:
        paint = paint * (1 - 0.5 * _contact_shadow(size, foot, col, radius))[..., None]
    covered = np.zeros((size, size))
    other = ("block", "cross", "ring")[values["body"]]
    hues = (draw[_DRAWS["hue"]] + np.array([0.0, 0.5])) % 1
    for number, (name, hue) in enumerate(zip(("ball", other), hues, strict=True)):
        up = (number == 0) == (values["order"] == 0)
        centre = middle - radius if up else middle + radius
        coverage, fall = _body(name, size, centre, col, radius)
        light = (1 if values["light"] == 0 else -1) * 0.45 * contrast * fall
        colour = 0.5 + 0.22 * np.cos(2 * np.pi * (hue - np.array([0, 1 / 3, 2 / 3])))
        paint = paint + (colour + light[..., None] - paint) * coverage[..., None]
        covered = np.maximum(covered, coverage)
    pixels = np.clip(paint * 255 + 0.5, 0, 255).astype(np.uint8)
    mask = covered >= 0.5
    facts = {"horizon": horizon, "radius": radius, "contrast": contrast, "row": middle, "col": col, "area": float(mask.mean())}
    facts |= {name: float(value) for name, value in values.items()}
    return Scene(pixels, mask, label, {key: float(value) for key, value in sorted(facts.items())})


def _factor_values(label: int, controls: HorizonControls, draw: Floats) -> dict[str, int]:
    """The value of each factor as a position in its list: from the class where it belongs to it, else drawn."""
    values = {name: int(draw[_FACTOR_DRAWS + at] * len(FACTORS[name])) for at, name in enumerate(FACTORS)}
    for name in reversed(controls.factors):
        label, values[name] = divmod(label, len(FACTORS[name]))
    return values


def _between(span: Range, draw: float) -> float:
    return span[0] + (span[1] - span[0]) * draw


def _stack_middle(place: int, horizon: float, radius: float, draw: float) -> float:
    """The row of the point where the two bodies touch: the stack wholly above, across, or wholly below the horizon."""
    half = 2.1 * radius
    low, high = ((half, horizon - half), (horizon - radius, horizon + radius), (horizon + half, 1 - half))[place]
    return _between((low, high), draw)


def octave_noise(random: np.random.Generator, size: int, stretch: int) -> Floats:
    """Noise (row, col) of standard deviation about 1 and 1/f amplitude, `stretch` times as coarse along the columns' axis."""
    total = np.zeros((size, size))
    for octave in _OCTAVES:
        grid = random.normal(size=(octave + 2, max(2, octave // stretch + 2))).astype(np.float32)
        total += np.asarray(Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)) / octave
    return total * 1.9  # the octaves' variances, 1/4 + 1/16 + …, after interpolation: about 1


def _landscape(random: np.random.Generator, size: int, horizon: float, texture: Range, draw: Floats) -> Floats:
    """Sky over ground (row, col, rgb), each with a vertical gradient of colour and a texture of its own."""
    at = ((np.arange(size) + 0.5) / size)[:, None]
    ridge = horizon + 0.012 * octave_noise(random, size, 1)[:1]
    above, below = np.clip(at / horizon, 0, 1), np.clip((at - horizon) / (1 - horizon), 0, 1)
    sky, ground = (
        bank[int(draw[_DRAWS[key]] * len(bank))] + random.normal(0, 0.04, (2, 3))
        for key, bank in (("sky", _SKY), ("ground", _GROUND))
    )
    clouds = 0.5 * _between(texture, draw[_DRAWS["clouds"]]) * octave_noise(random, size, 2)
    grain = _between(texture, draw[_DRAWS["grain"]]) * octave_noise(random, size, 1) * (0.4 + 0.8 * below)
    over = sky[0] + (sky[1] - sky[0]) * above[..., None] + clouds[..., None]
    under = ground[0] + (ground[1] - ground[0]) * below[..., None] + grain[..., None]
    part = np.clip((at - ridge) * size + 0.5, 0, 1)[..., None]
    return over + (under - over) * part


def _contact_shadow(size: int, foot: float, col: float, radius: float) -> Floats:
    """How dark (row, col) the ground is below a standing stack, 0 to 1: a flat ellipse around its foot."""
    at = (np.arange(size) + 0.5) / size
    distance = ((at[:, None] - foot) / (0.5 * radius)) ** 2 + ((at[None, :] - col) / (1.4 * radius)) ** 2
    return np.exp(-distance)


def _body(name: str, size: int, row: float, col: float, radius: float) -> tuple[Floats, Floats]:
    """The fraction of each pixel (row, col) that a body covers, and its height over its middle in radii, -1 to 1."""
    at = (np.arange(size * _FINE) + 0.5) / (size * _FINE)
    v, u = (row - at[:, None]) / radius, (at[None, :] - col) / radius
    distance = u * u + v * v
    if name == "ball":
        inside = distance <= 1
    elif name == "ring":
        inside = (distance <= 1) & (distance >= 0.25)
    elif name == "block":
        inside = (np.abs(u) <= 0.9) & (np.abs(v) <= 0.9)
    else:
        inside = (np.minimum(np.abs(u), np.abs(v)) <= 0.36) & (np.maximum(np.abs(u), np.abs(v)) <= 1)
    coverage = inside.reshape(size, _FINE, size, _FINE).mean((1, 3))
    return coverage, np.clip((row - (np.arange(size)[:, None] + 0.5) / size) / radius, -1, 1) + np.zeros((1, size))


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """The hash of this file: a generator that draws differently can never pass for the old one."""
    return hashlib.sha256(inspect.getsource(inspect.getmodule(horizon_scene) or horizon_scene).encode()).hexdigest()
