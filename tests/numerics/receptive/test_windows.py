"""Receptive fields after sliding windows, against NaN that is let loose in one row at a time, against gradients, and by hand."""

import pytest
import torch
import torch.nn.functional as F

from nan_rows import clipped, field, kernel, nan_rows

MAKERS = {
    "stride": lambda x: F.conv2d(x, kernel(3), stride=2, padding=1),
    "dilation": lambda x: F.conv2d(x, kernel(3), dilation=3, padding=3),
    "even kernel": lambda x: F.conv2d(x, kernel(4), stride=4),
    "asymmetric": lambda x: F.conv2d(x, kernel(5, 1), padding=(2, 0)),
    "same": lambda x: F.conv2d(x, kernel(4), padding="same"),
    "grouped": lambda x: F.conv2d(F.conv2d(x, kernel(3, units=4), padding=1), kernel(5, inputs=1), padding=2, groups=4),
    "transposed": lambda x: F.conv_transpose2d(x, kernel(3, inputs=4, units=3), stride=2, padding=1, output_padding=1),
    "transposed, sparse": lambda x: F.conv_transpose2d(F.avg_pool2d(x, 4), kernel(4, inputs=4, units=3), stride=2, padding=1),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "ceil mode": lambda x: F.max_pool2d(x, 2, ceil_mode=True),
    "average pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 5),
    "nearest": lambda x: F.interpolate(F.avg_pool2d(x, 4), scale_factor=2),
    "bilinear": lambda x: F.interpolate(F.avg_pool2d(x, 4), scale_factor=2, mode="bilinear"),
    "padding in front": lambda x: F.conv2d(F.pad(x, (2, 0, 2, 0)), kernel(3)),
}  # fmt: skip

# positions at each end that are left out: taps with gaps between them, padding of pooled maps, taps of weight zero
EDGE = {"dilation": 3, "transposed, sparse": 2, "bilinear": 1}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", MAKERS)
def test_every_position_agrees_with_nan(name):
    make, edge = MAKERS[name], EDGE.get(name, 0)
    found = field(make)
    for side, theirs in ((found.row, nan_rows(make)), (found.col, nan_rows(lambda x: make(x.mT).mT))):
        own = clipped(side)
        assert len(own) == len(theirs)
        assert own[edge : len(own) - edge] == theirs[edge : len(own) - edge]
    assert (found.exact, found.gated) == (True, False)


def test_antialiased_interpolation_reads_all_that_it_averages():
    antialiased = field(lambda x: F.interpolate(x, size=(9, 9), mode="bilinear", antialias=True), (32, 32))
    own = torch.ones(1, 3, 32, 32, requires_grad=True)
    made = F.interpolate(own, size=(9, 9), mode="bilinear", antialias=True)
    slope = torch.autograd.grad(made[0, 0, 4, 4], own)[0][0, 0].sum(1).nonzero().flatten()
    assert antialiased.rows(4) == (int(slope[0]), int(slope[-1]))


def test_interpolation_by_a_factor_steps_by_the_factor():
    scaled = field(lambda x: F.interpolate(x, scale_factor=0.37, mode="bilinear"), (32, 32))
    assert scaled.jump == pytest.approx((1 / 0.37, 1 / 0.37))  # torch takes the factor, not 32 / 11


def test_unfolded_windows_see_their_pixels():
    unfolded = field(lambda x: F.unfold(x, 5, padding=2, stride=2).reshape(1, 3, 25, 16, 16).mean(2), (32, 32))
    assert (unfolded.rows(5), unfolded.size, unfolded.center, unfolded.jump) == ((8, 12), (5.0, 5.0), (0.0, 0.0), (2.0, 2.0))


def test_units_of_a_group_see_no_more_than_their_group():
    """Three units that see 1, 3 and 5 rows, convolved one by one, and then all together."""

    def stacked(x):
        return torch.cat([x[:, :1], F.avg_pool2d(x[:, 1:2], 3, 1, 1), F.avg_pool2d(x[:, 2:], 5, 1, 2)], 1)

    apart = lambda x: F.conv2d(stacked(x), kernel(3, inputs=1, units=3), padding=1, groups=3)  # noqa: E731
    for unit, side in enumerate((3, 5, 7)):
        assert field(apart, shaped=lambda value, unit=unit: value[:, unit : unit + 1]).size[0] == side
    assert field(lambda x: F.conv2d(stacked(x), kernel(3), padding=1), shaped=lambda value: value[:, :1]).size == (7.0, 7.0)


def test_three_dilated_convolutions_see_13_pixels():
    """1 + 3 · (3 - 1) · 2; a handler that ignores dilation says 7."""
    net = torch.nn.Sequential(*(torch.nn.Conv2d(3, 3, 3, dilation=2) for _ in range(3)))
    found = field(net)
    assert (found.size, found.smallest, found.jump, found.center) == ((13.0, 13.0), (13.0, 13.0), (1.0, 1.0), (6.0, 6.0))


@pytest.mark.parametrize(
    ("make", "smallest"),
    [
        (lambda x: F.conv2d(F.max_pool2d(x, 2), kernel(3, 5), dilation=(2, 1)), (10.0, 10.0)),  # 2 + 2 · 4, 2 + 4 · 2
        (lambda x: F.conv_transpose2d(F.avg_pool2d(x, 4), kernel(4, inputs=4, units=3), stride=2), (8.0, 8.0)),  # two positions
        (lambda x: F.adaptive_avg_pool2d(x, (11, 3)), (3.0, 11.0)),
        (lambda x: F.interpolate(F.avg_pool2d(x, 4), scale_factor=2, mode="bilinear"), (8.0, 8.0)),
        (lambda x: F.unfold(F.max_pool2d(x, 2), (3, 5), dilation=(2, 1)).reshape(1, 3, 15, 12, 12).amax(2), (10.0, 10.0)),
        (lambda x: F.pad(F.max_pool2d(x, 2), (1, 2, 3, 4)), (2.0, 2.0)),
    ],
)
def test_the_shortest_path_by_hand(make, smallest):
    assert field(make).smallest == smallest
