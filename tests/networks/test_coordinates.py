"""Coordinate channels by hand, and a convolution that reads them."""

import torch
from torch import nn

from microtome.networks.coordinates import CoordinateConv2d, with_coordinates


def test_coordinates_run_from_minus_one_to_one() -> None:
    maps = with_coordinates(torch.zeros(1, 1, 3, 2))
    assert maps[0, 1].tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]
    assert maps[0, 2].tolist() == [[-1.0, 1.0]] * 3


def test_a_widened_convolution_answers_as_before_and_then_reads_places() -> None:
    x = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    plain = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
    wide = CoordinateConv2d(plain)
    assert wide.weight.shape == (4, 5, 3, 3) and wide.bias is None
    torch.testing.assert_close(wide(x), plain(x))
    with torch.no_grad():
        wide.weight.zero_()
        wide.weight[0, 3, 1, 1], wide.weight[1, 4, 1, 1] = 1.0, 1.0  # copies of row and col at every second place
    rows, cols = wide(x)[0, 0], wide(x)[0, 1]
    torch.testing.assert_close(rows, torch.tensor([-1.0, -0.2, 0.6])[:, None].expand(3, 3))  # rows 0, 2, 4 of 6
    torch.testing.assert_close(cols, rows.T)
