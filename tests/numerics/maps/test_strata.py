"""Clutter by hand, and a choice that shows every size and clutter."""

import numpy as np
import pytest

from microtome.numerics.maps.strata import clutter_fraction, edge_strength, spread_over


def test_the_gradient_of_a_grey_ramp_is_its_step() -> None:
    ramp = np.zeros((1, 4, 6, 3), dtype=np.uint8)
    ramp[:] = (np.arange(6) * 51)[None, None, :, None]
    assert edge_strength(ramp) == pytest.approx(np.full((1, 4, 6), 0.2), abs=1e-6)
    assert edge_strength(ramp.transpose(0, 2, 1, 3)) == pytest.approx(np.full((1, 6, 4), 0.2), abs=1e-6)
    assert edge_strength(ramp[:, :1, :1]).tolist() == [[[0.0]]]


def test_clutter_counts_only_outside_the_mask() -> None:
    pixels = np.zeros((2, 4, 6, 3), dtype=np.uint8)
    pixels[:, :, 3:] = 255  # one step: columns 2 and 3 lie on an edge
    masks = np.zeros((2, 4, 6), dtype=bool)
    masks[0, :, :3] = True
    masks[1] = True
    found = clutter_fraction(pixels, masks)
    assert found[0] == pytest.approx(1 / 3) and np.isnan(found[1])


def test_six_of_eighteen_are_one_of_each_size_and_clutter() -> None:
    size = np.arange(18.0)
    clutter = np.tile([0.0, 0.1, 0.2, 0.7, 0.8, 0.9], 3)
    # in each third of the sizes the plain half is its first three and the cluttered its last three: the middle of each
    assert spread_over(size, clutter, 6).tolist() == [1, 4, 7, 10, 13, 16]
    assert spread_over(size, clutter, 3).tolist() == [1, 7, 16]  # small and plain, middle and plain, large and cluttered
    assert sorted(spread_over(size, clutter, 99).tolist()) == list(range(18))
