"""Images that a function draws when they are asked for: the same for the same number, at any time and in any order."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import BadOption
from microtome.images.collection import Images
from microtome.images.feeding import PixelCache
from microtome.images.masks import Mask
from microtome.images.scenes import Scene
from microtome.images.sources import Source

REMEMBERED = 64  # images of one set: pixels, mask and facts are asked for one after the other


class GeneratedSource(Source):
    """`count` images of `draw(number)`; `facts_of_draw` are all that decides what it draws, the hash of its code among them."""

    most_threads = 1

    def __init__(self, kind: str, count: int, draw: Callable[[int], Scene], facts_of_draw: Sequence[Any]) -> None:
        self.kind, self.count, self.facts_of_draw = kind, count, list(facts_of_draw)
        self.drawing = lru_cache(maxsize=REMEMBERED)(draw)

    def __len__(self) -> int:
        return self.count

    def name(self, place: int) -> str:
        return f"{self.kind}-{place:0{len(str(self.count - 1))}d}"

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        return Image.fromarray(self.drawing(place).pixels)

    def mark_kind(self, place: int) -> str | None:
        return "mask"

    def mask(self, place: int) -> Mask | None:
        return self.drawing(place).mask.copy()

    def identity(self, place: int) -> str:
        return json.dumps([self.kind, *self.facts_of_draw, place])

    def facts(self, place: int) -> dict[str, float]:
        drawn = self.drawing(place)
        rows, cols = drawn.mask.shape
        return {"rows": float(rows), "cols": float(cols), "objects": 1.0, **drawn.facts}


def generated_set(
    source: GeneratedSource, labels: npt.NDArray[np.int64], classes: Sequence[str], name: str, options: dict[str, Any]
) -> Images:
    """The images of a generated source with the class of each; `options` are what the generator was asked for."""
    return Images(
        name=name,
        source=source,
        places=np.arange(len(source)),
        labels=labels,
        classes=tuple(classes),
        options=options,
        cache=PixelCache(),
    )


def check_count(count: int, kind: str) -> int:
    """The number of images, checked. Raises BadOption for anything but a whole number from 1 on."""
    if isinstance(count, bool) or int(count) != count or count < 1:
        raise BadOption(f"count is {count!r}; give a whole number of images from 1 on, such as {kind}:100.")
    return int(count)
