"""Sets that a function draws: names, digests and order, with a function whose images are known."""

import numpy as np
import pytest

from microtome.errors import BadOption
from microtome.images.generated import GeneratedSource, check_count, generated_set
from microtome.images.scenes import Scene


def draw(number: int) -> Scene:
    """An image of that number, with one pixel marked."""
    mask = np.zeros((2, 3), bool)
    mask[0, number % 3] = True
    return Scene(np.full((2, 3, 3), number, np.uint8), mask, number % 2, {"area": 1 / 6})


def test_what_is_drawn_is_what_is_shown() -> None:
    images = generated_set(GeneratedSource("dots", 12, draw, [7]), np.arange(12) % 2, ["a", "b"], "dots-7", {"count": 12})
    item = images[11]
    assert (item.name, item.label, images.kind, images.classes) == ("dots-11", 1, "dots", ("a", "b"))
    assert np.unique(np.asarray(item.picture)).tolist() == [11] and item.mask is not None and item.mask[0, 2]
    assert item.facts == {"rows": 2.0, "cols": 3.0, "objects": 1.0, "area": 1 / 6}
    assert images.take([3])[0].name == "dots-03"
    other = generated_set(GeneratedSource("dots", 12, draw, [8]), np.arange(12) % 2, ["a", "b"], "dots-8", {"count": 12})
    assert images.digest() != other.digest()  # another seed, say, though these pixels are the same


def test_counts() -> None:
    assert check_count(3, "dots") == 3
    for count in (0, 1.5, True):
        with pytest.raises(BadOption, match="dots:100"):
            check_count(count, "dots")  # type: ignore[arg-type]
