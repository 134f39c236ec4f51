"""Images whose marked pixels can only be named from afar: white squares whose class is the colour of squares half a side away.

White squares stand in one half of grey noise; straight below or above each, half the side away, stands a square in one of four
colours, the same in the whole image: the class of the image, and of the pixels of the mask, which are the white squares. Columns
without a white square have two squares of any colours, so that which colours there are says little.

Source: ours, made for the sweep of atrous rates: what has to be seen lies at one known distance.
"""

import hashlib
import inspect
from functools import lru_cache

import numpy as np

from microtome.errors import BadOption
from microtome.images import generated
from microtome.images.collection import Images
from microtome.images.scenes import Scene

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 230), "yellow": (230, 200, 40)}
CLASSES = tuple(COLOURS)
KIND = "cues"
WHITE = 255
UNIT = 32  # places below are in 1/32 of the side
SQUARE = 4
COLUMNS = (4, 9, 14, 19, 24)  # left edges, which leave room at each border for augmentation to move the squares
ROWS = (5, 6, 7)  # top edges of the upper squares: a white one and any coloured one below it are 11 apart at least
FEWEST, MOST = 2, 4  # columns with a white square


def distant_cues(count: int = 200, seed: int = 0, size: int = 32) -> Images:
    """`count` images of `size` px, a multiple of 32; what decides lies half of that away.

    Raises: BadOption.
    """
    count = generated.check_count(count, KIND)
    if size < UNIT or size % UNIT or seed < 0:
        raise BadOption(
            f"{KIND}: size={size}, seed={seed} cannot be drawn; give a multiple of {UNIT} px, and a seed from 0 on."
        )
    source = generated.GeneratedSource(KIND, count, lambda number: distant_cue(number, seed, size), [_code_hash(), seed, size])
    labels = np.array([_label(number, seed) for number in range(count)], dtype=np.int64)
    return generated.generated_set(source, labels, CLASSES, f"{KIND}-{seed}", {"count": count, "seed": seed, "size": size})


def distant_cue(number: int, seed: int, size: int) -> Scene:
    """Image `number` of the series `seed`; its mask holds the white squares, `facts` the fraction of the image that they cover."""
    label = _label(number, seed)
    rng = np.random.default_rng([seed, number, 3])
    scale = size // UNIT
    pixels = np.repeat(rng.integers(90, 151, (size, size, 1), dtype=np.uint8), 3, -1)
    mask = np.zeros((size, size), bool)
    white = set(rng.permutation(len(COLUMNS))[: int(rng.integers(FEWEST, MOST + 1))].tolist())
    above = bool(rng.random() < 0.5)  # the white squares are in the upper half
    colours = list(COLOURS.values())
    for place, left in enumerate(COLUMNS):
        top = int(rng.choice(ROWS))
        upper, lower = (_square(start, left, scale) for start in (top, top + UNIT // 2))
        here, there = (upper, lower) if above else (lower, upper)
        pixels[here], pixels[there] = (colours[at] for at in rng.integers(0, len(colours), 2))
        if place in white:
            pixels[here], pixels[there], mask[here] = WHITE, colours[label], True
    return Scene(pixels, mask, label, {"area": float(mask.mean()), "squares": float(len(white))})


def _square(top: int, left: int, scale: int) -> tuple[slice, slice]:
    return (
        slice(top * scale, (top + SQUARE) * scale),
        slice(left * scale, (left + SQUARE) * scale),
    )


def _label(number: int, seed: int) -> int:
    """The class of an image, without drawing it."""
    return int(np.random.default_rng([seed, number, 2]).integers(0, len(CLASSES)))


@lru_cache(maxsize=1)
def _code_hash() -> str:
    """The hash of the code that draws: a generator that draws differently can never pass for the old one."""
    return hashlib.sha256(inspect.getsource(inspect.getmodule(distant_cue) or distant_cue).encode()).hexdigest()
