"""The micro-object task: the box is all that differs between the classes, and what the scene shows says nothing."""

import numpy as np
import pytest

from microtome.errors import BadOption
from microtome.images import scenes
from microtome.images.micro_objects import COLOURS, micro_objects


def test_the_box_alone_is_the_class() -> None:
    """Outside both boxes, two images in a row are one scene; inside, each is of the colour of its class, of 1 to 3 px a side."""
    images = micro_objects(60, seed=4, size=32)
    sides = images.facts("side")
    assert sides is not None and images.labels is not None and sorted(set(sides)) == [1.0, 2.0, 3.0]
    for number in range(0, 60, 2):
        black, red = images[number], images[number + 1]
        assert black.mask is not None and red.mask is not None
        assert (black.label, red.label) == (0, 1) and int(black.mask.sum()) == sides[number] ** 2
        one, two, scene = np.asarray(black.picture), np.asarray(red.picture), scenes.scene(number // 2, seed=4, size=32).pixels
        assert np.array_equal(one[~black.mask], scene[~black.mask]) and np.array_equal(two[~red.mask], scene[~red.mask])
        assert (one[black.mask] == COLOURS["black"]).all() and (two[red.mask] == COLOURS["red"]).all()


def test_places_are_even_and_stay_inside() -> None:
    images = micro_objects(600, size=16, sides=(2, 2))
    row, col = images.facts("row"), images.facts("col")
    assert row is not None and col is not None
    for place in (row, col):  # centres of 2 px boxes: 1 … 15 px, evenly; standard error of the mean is 0.27 / √600 = 0.011
        assert (place.min(), place.max()) == (1 / 16, 15 / 16) and place.mean() == pytest.approx(0.5, abs=0.04)


def test_the_same_in_any_order_and_other_by_seed() -> None:
    images = micro_objects(8, seed=1)
    assert np.array_equal(np.asarray(images.take([5])[0].picture), np.asarray(micro_objects(8, seed=1)[5].picture))
    assert len({images.digest(), micro_objects(8, seed=2).digest(), micro_objects(8, seed=1, sides=(1, 2)).digest()}) == 3


def test_what_is_refused() -> None:
    for sides in ((0, 3), (3, 1), (1, 9)):
        with pytest.raises(BadOption, match="do not fit images of 16 px"):
            micro_objects(4, size=16, sides=sides)
    with pytest.raises(BadOption, match="count is 0"):
        micro_objects(0)
