"""Taps of dilated kernels counted by convolution itself, the closed forms, the rule for rates, the star."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from microtome.numerics.receptive.dilations import DilationMode, border_rate, read_side, shared_rates, star_mass, star_points

CASES = [
    (kernel, rate, stride, before, side)
    for kernel, rate, stride, before, side in product((2, 3, 5), (1, 2, 3, 7), (1, 2), (0, 1, 3, 9), (9, 14))
    if side + 2 * before > (kernel - 1) * rate  # torch has no kernel that is wider than the padded side
]


@pytest.mark.parametrize(("kernel", "rate", "stride", "before", "side"), CASES)
def test_counts_are_those_of_a_convolution_of_ones(kernel, rate, stride, before, side) -> None:
    """Oracle: torch reads a map of ones with each tap alone; what it gives is 1 where the tap lies on the map and 0 on padding."""
    each = torch.eye(kernel)[:, None, None]
    on = F.conv2d(torch.ones(1, 1, 1, side), each, stride=(1, stride), padding=(0, before), dilation=(1, rate))[0, :, 0]
    found = read_side(kernel, rate, stride, before, on.shape[1], (0, side))
    assert found.valid == pytest.approx(float(on.mean()))
    assert found.whole == pytest.approx(float(on.all(0).double().mean()))
    assert found.alive == pytest.approx(float(on.any(1).double().mean()))


@pytest.mark.parametrize("side", [33, 65, 112])
@pytest.mark.parametrize("rate", [1, 6, 16, 18, 33, 56, 65, 112, 200])
def test_closed_forms_of_three_taps(side, rate) -> None:
    """((1 + 2 (1 - r/M)+) / 3) of the taps of one axis, (1 - 2 r/M)+ of the positions; squared for 3 x 3: derived by us."""
    found = read_side(3, rate, 1, rate, side, (0, side))
    assert found.valid == pytest.approx((1 + 2 * max(0, 1 - rate / side)) / 3)
    assert found.whole == pytest.approx(max(0, 1 - 2 * rate / side))
    assert (found.alive < 0.5) == (rate >= side)  # only the middle tap is left


def test_padding_put_on_before_is_no_map() -> None:
    inside = read_side(3, 2, 1, 2, 10, (0, 10))
    assert read_side(3, 2, 1, 0, 10, (2, 12)) == inside  # two cells of padding in front of the map, none by the convolution


@pytest.mark.parametrize(
    ("side", "rates"),
    # The table of the methods: input and output stride of DeepLab on VOC (513 / 16, 513 / 8), Cityscapes (769 / 8), iSAID (896 / 8),
    # and of U-Net on HRF (256 / 1), STARE and CHASE (128 / 1).
    [(33, (5, 11, 16)), (65, (11, 21, 32)), (97, (16, 32, 48)), (112, (18, 37, 55)), (256, (42, 85, 127)), (128, (21, 42, 63))],
)
def test_the_rule_gives_the_table(side, rates) -> None:
    assert shared_rates(border_rate(side), 3) == rates


def test_the_rule_scales_with_the_side() -> None:
    """Twice the image, or half the output stride, is twice the side of the map: twice the rate, up to the rounding down of it."""
    for side in range(8, 200):
        assert 2 * border_rate(side) <= border_rate(2 * side) <= 2 * border_rate(side) + 1
    assert border_rate(65, 5) == 16  # two steps of 16 from the middle
    assert border_rate(1) == border_rate(2) == border_rate(7, 1) == 1
    assert shared_rates(5, 2) == (3, 5)  # 2.5 is rounded up
    assert shared_rates(2, 4) == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("side", "rates", "points"),
    # 1 + 8 for each rate that is at most M // 2; points beyond the map vanish: the methods' counts.
    [(65, (6, 12, 18), 25), (65, (12, 24, 36), 17), (33, (6, 12, 18), 17), (33, (5, 11, 16), 25), (9, (2,), 9), (9, (9,), 1)],
)
def test_points_of_the_star(side, rates, points) -> None:
    at = side // 2
    found = star_points((side, side), [([at - rate, at, at + rate],) * 2 for rate in rates])
    assert found.sum() == points
    assert found[at, at] and (found == found.T).all() and (found == found[::-1]).all()


def test_mass_on_star_and_floor_by_hand() -> None:
    on = np.zeros((4, 5), dtype=bool)
    on[1, 2] = on[3, 4] = True
    field = np.full((4, 5), 0.5)
    field[on] = 3.0
    found = star_mass(field, on)
    assert found == pytest.approx((6 / 15, 10 / 15, 5 / 15))
    assert np.isnan(star_mass(np.zeros((4, 5)), on)).all()
    assert star_mass(np.ones((2, 2)), np.ones((2, 2), dtype=bool)) == pytest.approx((1, 0, 1))


def test_dilated_convolutions_are_counted_wherever_they_run() -> None:
    x, line = torch.zeros(1, 2, 9, 9), torch.zeros(1, 2, 9)
    weight = torch.zeros(2, 2, 3, 3)
    with DilationMode() as seen:
        nn.Conv2d(2, 2, 3, dilation=2)(x)
        F.conv2d(x, weight, None, 1, 2, 2)
        torch.conv2d(x, weight, dilation=(1, 3))
        F.conv_transpose2d(x, weight, dilation=2)
        nn.Conv1d(2, 2, 3, dilation=4)(line)
        assert seen.count == 5
        nn.Conv2d(2, 2, 3)(x), nn.Conv2d(2, 2, 1, dilation=2)(x), nn.Conv2d(2, 2, (3, 1), dilation=(1, 5))(x)
    assert seen.count == 5
