"""What an operation lets a change reach, against changing the input and looking which outputs change."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from microtome.instruments.perturbation.windows import Box, MapWindows, SlidingWindow, paste_windows


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"), [(1, 0, 1), (2, 0, 1), (2, 1, 1), (3, 0, 1), (3, 1, 1), (3, 2, 2), (5, 2, 1), (5, 3, 2)]
)
def test_reached_is_what_changes(kernel, stride, padding, dilation):
    slide = SlidingWindow((kernel,) * 2, (stride,) * 2, (padding,) * 2, (dilation,) * 2)
    side = 17

    def run(x):
        weight = torch.ones(1, 1, kernel, 1, dtype=torch.float64)
        return F.conv2d(x, weight, stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))[0, 0, :, 0]

    clean = run(torch.zeros(1, 1, side, 1, dtype=torch.float64))
    for first in range(side):
        for past in range(first + 1, side + 1):
            x = torch.zeros(1, 1, side, 1, dtype=torch.float64)
            x[0, 0, first:past] = 1
            changed = (run(x) != clean).nonzero()[:, 0].numpy()
            low, high = slide.output_span(np.array([[first, past]]), 0, len(clean))[0]
            assert 0 <= low < high <= len(clean)
            if len(changed):
                assert low <= changed.min() and changed.max() < high
                if dilation == 1 and kernel >= stride:
                    assert (low, high) == (changed.min(), changed.max() + 1)  # no cell more
            start, size = slide.input_span(np.array([low]), int(high - low), 0)
            assert start[0] + size == (high - 1) * stride - padding + (kernel - 1) * dilation + 1


def test_clean_cells_around_and_windows_over_them():
    value = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    maps = MapWindows(value, -7.0)
    rows, cols, images = np.array([-1, 2]), np.array([3, -2]), np.array([1, 0])
    wide = F.pad(value, (3, 3, 3, 3), value=-7.0)
    made = maps.around(images, rows, cols, (3, 4))
    for job in range(2):
        wanted = wide[images[job], :, rows[job] + 3 : rows[job] + 6, cols[job] + 3 : cols[job] + 7]
        assert torch.equal(made[job].permute(2, 0, 1), wanted)
    window = torch.full((2, 3, 2, 2), 99.0)
    over = paste_windows(made.clone(), window, Box(np.array([0, 3]), np.array([4, 0]), (2, 2)), rows, cols)
    changed = (over != made).any(3)
    assert changed[0].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert changed[1].nonzero().tolist() == [[1, 2], [1, 3], [2, 2], [2, 3]]
    assert torch.equal(paste_windows(made.clone(), window, Box(np.array([9, 9]), np.array([9, 9]), (2, 2)), rows, cols), made)
