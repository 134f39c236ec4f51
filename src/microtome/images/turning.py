"""Images turned by quarter turns: all by the same, or each by one of its own; masks, bands and known places turn along.

A quarter turn moves pixels and changes none, so nothing is resampled. Turns are anticlockwise, as `numpy.rot90` counts them.

Source: Petrov et al. 2021, Weight Banding, distill.pub/2020/circuits/weight-banding, section "Rotating images 90 degrees"; turns at
random are the follow-up that its comments propose.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from microtome.errors import BadOption, did_you_mean
from microtome.images.bands import Values
from microtome.images.feeding import PixelCache
from microtome.images.masks import Mask
from microtome.images.sources import Source

if TYPE_CHECKING:
    from microtome.images.collection import Images

TURNS = ("none", "90", "180", "270", "random")
_TRANSPOSES = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}


class TurnedSource(Source):
    """The images of another source, each turned by `quarters` quarter turns, or by a number of its own that `seed` draws."""

    def __init__(self, base: Source, quarters: int | None, seed: int) -> None:
        self.base, self.quarters, self.seed = base, quarters, seed
        self.kind, self.most_threads = base.kind, base.most_threads
        self.channels, self.shown = base.channels, base.shown

    def __len__(self) -> int:
        return len(self.base)

    def quarter_turns(self, place: int) -> int:
        """By how many quarter turns (0 to 3) the image at that place is turned."""
        if self.quarters is not None:
            return self.quarters
        return int(np.random.default_rng([self.seed, place, 90]).integers(4))

    def name(self, place: int) -> str:
        return self.base.name(place)

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        image, turns = self.base.picture(place, least), self.quarter_turns(place)
        return image.transpose(_TRANSPOSES[turns]) if turns else image

    def values(self, place: int) -> Values:
        return np.ascontiguousarray(np.rot90(self.base.values(place), self.quarter_turns(place)))

    def mark_kind(self, place: int) -> str | None:
        return self.base.mark_kind(place)

    def mask(self, place: int) -> Mask | None:
        mask = self.base.mask(place)
        return None if mask is None else np.ascontiguousarray(np.rot90(mask, self.quarter_turns(place)))

    def identity(self, place: int) -> str:
        return f"{self.base.identity(place)} turned by {90 * self.quarter_turns(place)} degrees"

    def facts(self, place: int) -> dict[str, float]:
        turns = self.quarter_turns(place)
        return _turn_facts(self.base.facts(place), turns) | {"turn": 90.0 * turns}


def turn_images(images: "Images", turn: str | int = "random", seed: int = 0) -> "Images":
    """The same images in the same order, each turned; labels and names stay. For "none" the images themselves.

    `turn`: 90, 180 or 270 (degrees, anticlockwise) for all, or "random": none, 90, 180 or 270 for each image, drawn by `seed` and
    fixed for that image, so that training and validation can be turned alike and again.

    Raises:
        BadOption: another turn, or a negative seed.
    """
    word = str(turn).strip().lower()
    word = "none" if word == "0" else word
    if word not in TURNS:
        raise BadOption(
            f"turn is '{turn}'; give one of {', '.join(TURNS)} (degrees, anticlockwise).{did_you_mean(word, TURNS)}"
        )
    if seed < 0:
        raise BadOption(f"The seed of the turns is {seed}; it starts at 0.")
    if word == "none":
        return images
    quarters = None if word == "random" else int(word) // 90
    options: dict[str, Any] = {**images.options, "turn": word}
    if quarters is None:
        options["turn_seed"] = seed
    return replace(
        images,
        name=f"{images.name}-turn-{word}",
        source=TurnedSource(images.source, quarters, seed),
        options=options,
        cache=PixelCache(),
    )


def _turn_facts(facts: dict[str, float], turns: int) -> dict[str, float]:
    """The facts of a turned image: sides and the object's place move; the row of the horizon is none any more, and is left out."""
    if not turns:
        return dict(facts)
    turned = {name: value for name, value in facts.items() if name != "horizon"}
    if turns % 2 and "rows" in facts and "cols" in facts:
        turned |= {"rows": facts["cols"], "cols": facts["rows"]}
    if "row" in facts and "col" in facts:
        row, col = facts["row"], facts["col"]
        places = {1: (1 - col, row), 2: (1 - row, 1 - col), 3: (col, 1 - row)}
        turned["row"], turned["col"] = places[turns]
    return turned
