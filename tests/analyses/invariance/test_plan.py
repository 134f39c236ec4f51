"""Amounts of a warp written as numbers or ranges, and strides of grids."""

import pytest

from microtome.analyses.invariance.plan import grid_stride, parse_numbers, powers_of_two
from microtome.errors import BadOption
from microtome.numerics.receptive.geometry import Axis, Where


def test_numbers_and_ranges_together_ascending_and_once() -> None:
    assert parse_numbers("shift", ["4", "-4:4:4", "0.5"], -9, 9) == [-4, 0, 0.5, 4]
    assert parse_numbers("turn", ["0:1:0.1"], 0, 1) == [n / 10 for n in range(11)]


@pytest.mark.parametrize("text", ["x", "1:2", "1:2:0", "3:1:1", "1:2:3:4:5", "0:1e9:1", "nan:1:1", "nan", "inf", "0:inf:1"])
def test_what_is_no_number_or_range(text: str) -> None:
    with pytest.raises(BadOption, match="option shift"):
        parse_numbers("shift", [text], -9, 9)


def test_what_lies_outside_is_named() -> None:
    with pytest.raises(BadOption, match="has 10; here it takes -9 to 9"):
        parse_numbers("shift", ["10"], -9, 9)


def test_powers_and_strides() -> None:
    assert powers_of_two(9.5) == [1, 2, 4, 8] and powers_of_two(0.2) == [1]
    assert grid_stride(None, 32) == grid_stride(Where(Axis(0.0, 16.0, 2), Axis(0.0, 16.0, 2)), 32) == 0
    assert grid_stride(Where(Axis(0.0, 4.0, 8), Axis(0.0, 4.0, 8)), 32) == 4
    assert grid_stride(Where(Axis(0.0, 2.5, 8), Axis(0.0, 2.5, 8)), 32) == 0
