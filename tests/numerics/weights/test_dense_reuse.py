"""Feature reuse: the arithmetic by hand, and strengths against explicit loops over slices."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from microtome.numerics.graph.channels import ChannelRun
from microtome.numerics.weights.dense_reuse import (
    channel_strength,
    faintest_source,
    late_lean,
    least_read,
    scale_matrices,
    source_evenness,
    source_row,
)


def test_evenness() -> None:
    assert source_evenness(np.array([1.0, 1.0, 1.0, 1.0, np.nan])) == pytest.approx(1.0)
    assert source_evenness(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(0.25)
    assert source_evenness(np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)
    assert math.isnan(source_evenness(np.zeros(4))) and math.isnan(source_evenness(np.array([1.0, np.nan])))


def test_least_and_faintest() -> None:
    assert least_read(np.array([1.0, 2.0, 4.0])) == (True, pytest.approx(1 / 3))
    assert least_read(np.array([2.0, 2.0]))[0] is False  # no less than the others
    assert least_read(np.array([1.0, np.nan]))[0] is False
    assert faintest_source(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.5)


def test_lean_to_late_sources() -> None:
    rising = late_lean(np.arange(1.0, 10.0))
    assert rising.ratio == pytest.approx(8 / 2) and rising.correlation == pytest.approx(1.0) and rising.p < 1e-6
    falling = late_lean(np.arange(9.0, 0.0, -1.0))
    assert falling.ratio == pytest.approx(2 / 8) and falling.p > 0.999
    flat = late_lean(np.ones(6))
    assert flat.ratio == 1.0 and math.isnan(flat.correlation)
    assert math.isnan(late_lean(np.ones(2)).ratio)


def test_scalings() -> None:
    maps = {"one": np.array([[1.0, np.nan], [2.0, 4.0]]), "other": np.array([[8.0, 0.0], [0.0, 0.0]])}
    assert scale_matrices(maps, "none")["one"] is maps["one"]
    np.testing.assert_array_equal(scale_matrices(maps, "target")["one"], [[1, np.nan], [0.5, 1]])
    np.testing.assert_array_equal(
        scale_matrices(maps, "target")["other"], [[1, 0], [np.nan, np.nan]]
    )  # zero by zero is no number
    np.testing.assert_array_equal(scale_matrices(maps, "global")["one"], [[1 / 8, np.nan], [2 / 8, 4 / 8]])


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_strength_of_each_channel_against_loops(groups: int) -> None:
    conv = nn.Conv2d(6, 12, 3, groups=groups)
    units, width = 12 // groups, 6 // groups
    for channel in range(6):
        group, place = divmod(channel, width)
        seen = [
            abs(float(conv.weight.detach()[unit, place, i, j]))
            for unit in range(group * units, (group + 1) * units)
            for i in range(3)
            for j in range(3)
        ]
        assert channel_strength(conv, 6)[channel] == pytest.approx(sum(seen) / len(seen), rel=1e-12)


def test_strength_of_linear_and_transposed_layers() -> None:
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.0, 0.0]])
    assert channel_strength(linear, 3).tolist() == [2.0, 1.0, 0.0]
    turned = nn.ConvTranspose2d(2, 3, 2)
    turned.weight.data[0] = -1.0
    turned.weight.data[1] = 4.0
    assert channel_strength(turned, 2).tolist() == [1.0, 4.0]


def test_row_in_the_order_of_the_sources() -> None:
    first, second, third = ChannelRun(1, 0, 2), ChannelRun(2, 0, 1), ChannelRun(3, 0, 1)
    told = source_row(np.array([5.0, 1.0, 3.0]), (second, first), (first, second, third))
    np.testing.assert_array_equal(told, [2.0, 5.0, np.nan])
