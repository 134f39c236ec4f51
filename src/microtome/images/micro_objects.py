"""The micro-object task: a box of a few pixels somewhere in a busy scene; its colour alone is the class.

Every scene is drawn twice, one after the other: once with a black box (class black) and once with a red one (class red), each at a
place and of a side of its own. So the scene behind the box says nothing about the class.

Source: Kim et al. 2021, arXiv:2108.13576, sec. 4: boxes of 8 x 8 px, (0, 0, 0) or (255, 0, 0), in photographs of Caltech-101 at 224 px.
Generated scenes behind them and boxes of 1 to 3 px, for images of 64 px, are ours.
"""

import hashlib
import inspect
from functools import lru_cache
from types import ModuleType

import numpy as np

from microtome.errors import BadOption
from microtome.images import generated, scenes
from microtome.images.collection import Images
from microtome.images.scenes import Scene

COLOURS = {"black": (0, 0, 0), "red": (255, 0, 0)}
CLASSES = tuple(COLOURS)
KIND = "micro_objects"


def micro_objects(count: int = 200, seed: int = 0, size: int = 64, sides: tuple[int, int] = (1, 3)) -> Images:
    """`count` images of `size` px; the side of each box is drawn evenly from `sides` (px, both included).

    Raises: BadOption.
    """
    count = generated.check_count(count, KIND)
    low, high = sides
    if not 1 <= low <= high <= size // 2:
        raise BadOption(
            f"{KIND}: sides={low}-{high} px do not fit images of {size} px; give 1 or more, up to half of that, such as 1-3."
        )
    scenes.scene(0, seed=seed, size=size)  # a size or seed that cannot be drawn is refused here
    source = generated.GeneratedSource(
        KIND, count, lambda number: micro_object(number, seed, size, (low, high)), [_code_hash(), seed, size, low, high]
    )
    options = {"count": count, "seed": seed, "size": size, "sides": [low, high]}
    return generated.generated_set(source, np.arange(count) % 2, CLASSES, f"{KIND}-{seed}", options)


def micro_object(number: int, seed: int, size: int, sides: tuple[int, int]) -> Scene:
    """Image `number` of the series `seed`, with the mask of its box; `facts` hold side (px), and row and col of its centre."""
    back = scenes.scene(number // 2, seed=seed, size=size)
    rng = np.random.default_rng([seed, number, 8])
    side = int(rng.integers(sides[0], sides[1] + 1))
    top, left = (int(value) for value in rng.integers(0, size - side + 1, 2))
    pixels, mask = back.pixels.copy(), np.zeros(back.mask.shape, bool)
    mask[top : top + side, left : left + side] = True
    pixels[mask] = COLOURS[CLASSES[number % 2]]
    facts = {
        "area": float(mask.mean()),
        "side": float(side),
        "row": (top + side / 2) / size,
        "col": (left + side / 2) / size,
        "clutter": back.facts["clutter"],
    }
    return Scene(pixels, mask, number % 2, facts)


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """The hash of the code that draws: a generator that draws differently can never pass for the old one."""
    parts: tuple[ModuleType | object, ...] = (scenes, micro_object)
    return hashlib.sha256("".join(inspect.getsource(part) for part in parts).encode()).hexdigest()  # type: ignore[arg-type]
