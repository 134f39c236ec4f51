"""Parts of a mask: halves by hand, halves that make up the whole, and the same shape elsewhere."""

import numpy as np
import pytest

from microtome.numerics.maps.parts import mask_bounds, part_of, random_position

MASK = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 1]], dtype=bool)  # 2, 2, 3 and 3 pixels


def test_halves_by_hand() -> None:
    # half of ten pixels is reached in the third row of the object, of two columns of four in the second
    assert part_of(MASK, "upper").sum(1).tolist() == [0, 2, 2, 3, 0]
    assert part_of(MASK, "lower").sum(1).tolist() == [0, 0, 0, 0, 3]
    assert part_of(MASK, "left").sum(0).tolist() == [0, 4, 4, 0]
    assert part_of(MASK, "right").sum(0).tolist() == [0, 0, 0, 2]
    assert part_of(MASK, "object") is MASK


@pytest.mark.parametrize(("first", "second"), [("upper", "lower"), ("left", "right")])
def test_two_halves_are_the_whole_and_share_nothing(first: str, second: str) -> None:
    for seed in range(5):
        mask = np.random.default_rng(seed).random((9, 7)) > 0.5
        one, other = part_of(mask, first), part_of(mask, second)
        assert np.array_equal(one | other, mask) and not (one & other).any()


def test_a_random_position_keeps_the_shape_and_reaches_every_place() -> None:
    assert mask_bounds(MASK) == (1, 5, 1, 4)
    shape = MASK[1:5, 1:4]
    draws, corners = np.random.default_rng(0), set()
    for _ in range(60):
        moved = random_position(MASK, draws)
        top, bottom, left, right = mask_bounds(moved)
        assert np.array_equal(moved[top:bottom, left:right], shape)
        corners.add((top, left))
    assert corners == {(0, 0), (0, 1), (1, 0), (1, 1)}  # 4 x 3 in 5 x 4
