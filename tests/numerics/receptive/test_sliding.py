"""The last pixel under each window, against loops over taps written the slow way, on a grid that goes on beyond its edges."""

import pytest
import torch
import torch.nn.functional as F

from microtome.numerics.receptive.sliding import (
    NOT_SEEN,
    adaptive_bins,
    extend_ends,
    interpolation_taps,
    read_by,
    slide_transposed,
    slide_windows,
)


@pytest.mark.parametrize(
    ("kernel", "stride", "before", "dilation"), [(3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 0, 1), (3, 1, 2, 2), (5, 3, 2, 1)]
)
def test_windows_over_pixels(kernel: int, stride: int, before: int, dilation: int) -> None:
    ends, out = torch.arange(12.0)[None], 4
    found = slide_windows(ends, 1, out, kernel=kernel, stride=stride, before=before, dilation=dilation, step=1.0)
    assert found[0].tolist() == [max(cell * stride - before + tap * dilation for tap in range(kernel)) for cell in range(out)]


@pytest.mark.parametrize(("kernel", "stride", "before"), [(3, 2, 1), (4, 2, 1), (2, 2, 0), (1, 2, 0), (5, 3, 2)])
def test_transposed_windows_over_pixels(kernel: int, stride: int, before: int) -> None:
    ends, out = torch.arange(8.0)[None], 14
    found = slide_transposed(ends, 1, out, kernel=kernel, stride=stride, before=before, dilation=1, step=1.0)
    for cell in range(out):
        reach = [i for i in range(-20, 30) for tap in range(kernel) if i * stride - before + tap == cell]
        assert float(found[0, cell]) == (max(reach) if reach else NOT_SEEN)


def test_a_pattern_of_two_goes_on_beyond_the_edge_and_what_sees_nothing_stays_so() -> None:
    ends = torch.tensor([0.0, 5, 4, 9, 8, 13, 12, 17])  # every second position is alike, 4 px further
    assert extend_ends(ends, 0, 2, 3, 2.0).tolist() == [-4, 1, *ends.tolist(), 16, 21, 20]
    assert extend_ends(ends, 0, -2, -1, 2.0).tolist() == ends[2:-1].tolist()
    assert extend_ends(torch.full((4,), NOT_SEEN), 0, 1, 1, 1.0).tolist() == [NOT_SEEN] * 6


@pytest.mark.parametrize(("count", "out"), [(7, 3), (8, 4), (5, 5), (3, 5)])
def test_adaptive_bins_are_those_of_torch(count: int, out: int) -> None:
    ends = torch.rand(2, count, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adaptive_bins(ends, 1, out), F.adaptive_max_pool1d(ends, out))


def test_taps_are_the_positions_with_a_weight() -> None:
    weights = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1.0, 0], [0, 0.2, 0, -0.8]])
    taps = read_by(weights)
    assert taps.tolist() == [[0, 1], [2, 2], [1, 3]]
    assert interpolation_taps(torch.tensor([3.0, 1, 2, 7]), 0, taps).tolist() == [3, 2, 7]
