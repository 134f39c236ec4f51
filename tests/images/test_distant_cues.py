"""Images named from afar: the colour half a side away is the class, and nothing nearer says it."""

import numpy as np
import pytest

from microtome.errors import BadOption
from microtome.images.distant_cues import CLASSES, COLOURS, UNIT, distant_cues
from microtome.images.words import generate_images


def test_the_colour_half_a_side_away_is_the_class() -> None:
    images = distant_cues(40, seed=3)
    for item in images:
        assert item.mask is not None and item.label is not None
        pixels = np.asarray(item.picture)
        assert (pixels[item.mask] == 255).all() and item.mask.sum() == 16 * item.facts["squares"]
        rows, cols = np.nonzero(item.mask)
        away = rows + 16 if rows.max() < 16 else rows - 16
        assert (pixels[away, cols] == COLOURS[CLASSES[item.label]]).all()


def test_nothing_coloured_below_or_above_a_white_square_is_nearer_than_eleven_rows() -> None:
    """21 - (7 + 4) + 1: from the last row of a white square to the first row of a coloured one in the other half."""
    gaps = []
    for item in distant_cues(200, seed=1):
        pixels = np.asarray(item.picture).astype(int)
        coloured = np.ptp(pixels, axis=2) > 60
        white = np.flatnonzero(item.mask.any(1))  # type: ignore[union-attr]
        other = np.flatnonzero(coloured[16:].any(1)) + 16 if white.max() < 16 else np.flatnonzero(coloured[:16].any(1))
        gaps.append(np.abs(white[:, None] - other[None]).min())
    assert min(gaps) == 11


def test_what_stands_beside_a_white_square_says_nothing_of_the_class() -> None:
    """The colours in the half of the white squares agree with the class in 1 of 4 squares; standard error of 1,000 is 0.014."""
    same = []
    for item in distant_cues(500, seed=2):
        pixels, white = np.asarray(item.picture), np.flatnonzero(item.mask.any(1))  # type: ignore[union-attr]
        half = pixels[:16] if white.max() < 16 else pixels[16:]
        counts = [int((half == colour).all(2).sum()) // 16 for colour in COLOURS.values()]
        same += [1] * counts[item.label] + [0] * (sum(counts) - counts[item.label])  # type: ignore[index]
    assert len(same) > 700 and np.mean(same) == pytest.approx(0.25, abs=0.06)


def test_the_same_by_word_and_in_any_order() -> None:
    images = generate_images("cues:12,seed=5,size=64")
    assert len(images) == 12 and images.classes == CLASSES
    assert np.array_equal(np.asarray(images.take([7])[0].picture), np.asarray(distant_cues(12, 5, 64)[7].picture))
    assert len({images.digest(), distant_cues(12, 6, 64).digest(), distant_cues(12, 5, 32).digest()}) == 3
    assert np.asarray(images[0].picture).shape == (2 * UNIT, 2 * UNIT, 3)


def test_what_is_refused() -> None:
    for size in (16, 48):
        with pytest.raises(BadOption, match="multiple of 32"):
            distant_cues(4, size=size)
    with pytest.raises(BadOption, match="count is 0"):
        distant_cues(0)
