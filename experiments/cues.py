"""Images whose pixels can only be named from afar: the class of a white square is the colour of the square half a side away.

White squares stand in grey noise, in either half of the image; straight below or above each, half the side away, stands a square
in one of four colours, and that colour is the class of the white one's pixels. Everything else is background. Pairs of coloured
squares that belong to no white one stand between them, so that which colours there are says little. Ours, made for the sweep of
atrous rates: what has to be seen lies at one known distance.
"""

import numpy as np

from microtome.training.zoo.data import SceneSeries

SIDE = 32  # px; what decides lies SIDE / 2 away
SQUARE = 4  # px
COLOURS = np.array([(220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 200, 40)], np.uint8)
WHITE = 255
_COLUMNS = (4, 9, 14, 19, 24)  # the left edges of the squares, which leave 4 px at each border for augmentation to move them
_ROWS = (4, 9)  # the first rows that the upper square of a column may begin at, the last not included
_CUE_CELLS = 0.6  # the fraction of columns with a white square; the others have two coloured ones


def draw_distant_cues(count: int, seed: int) -> SceneSeries:
    """`count` images; `targets` are 0 for background and 1 + the colour for the pixels of white squares.

    `labels` are zeros, since no image as a whole has a class; `areas` are the fractions of pixels with one.
    """
    draw = np.random.default_rng(seed)
    pixels = np.repeat(draw.integers(90, 151, (count, SIDE, SIDE, 1), dtype=np.uint8), 3, -1)
    targets = np.zeros((count, SIDE, SIDE), np.uint8)
    for picture, target in zip(pixels, targets, strict=True):
        for left in _COLUMNS:
            top = int(draw.integers(*_ROWS))
            colour, other = draw.integers(0, len(COLOURS), 2)
            halves = [slice(at, at + SQUARE) for at in (top, top + SIDE // 2)]
            here, there = halves if draw.random() < 0.5 else halves[::-1]
            across = slice(left, left + SQUARE)
            picture[there, across] = COLOURS[colour]
            if draw.random() < _CUE_CELLS:
                picture[here, across] = WHITE
                target[here, across] = 1 + colour
            else:
                picture[here, across] = COLOURS[other]
    return SceneSeries(pixels, np.zeros(count, np.int64), (targets > 0).mean((1, 2)), targets)
