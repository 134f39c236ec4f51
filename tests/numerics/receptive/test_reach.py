"""What elements see, joined: sums and products of branches, gates, masks, and writing into a part of a tensor."""

import pytest
import torch
import torch.nn.functional as F

from microtome.numerics.receptive.reach import NEVER_SEEN, align, elementwise_max
from nan_rows import clipped, field, followed, kernel, nan_rows


def put(into, x, rows, *, add=False):
    """`into` with `x` written or added in place into some of its rows."""
    if add:
        into[:, :, rows] += x
    else:
        into[:, :, rows] = x
    return into


MAKERS = {
    "sum of branches": lambda x: F.conv2d(x, kernel(3), padding=1) + F.conv2d(x, kernel(5), padding=2),
    "written into zeros": lambda x: F.conv2d(put(torch.zeros(1, 3, 33, 33), x[:, :, :-2], slice(2, None)), kernel(3)),
    "every second row written": lambda x: F.conv2d(put(x.new_zeros(1, 3, 65, 33), x, slice(None, None, 2)), kernel(2)),
    "written over": lambda x: put(F.conv2d(x, kernel(3), padding=1), F.avg_pool2d(x, 5, 1, 2)[:, :1, 9:20], slice(9, 20)),
    "added to a part": lambda x: put(F.conv2d(x, kernel(3), padding=1), x[:, :1, 14:21], slice(20, 27), add=True),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_every_position_agrees_with_nan(name):
    found = field(MAKERS[name])
    assert clipped(found.row) == nan_rows(MAKERS[name])
    assert clipped(found.col) == nan_rows(lambda x: MAKERS[name](x.mT).mT)
    assert (found.exact, found.gated) == (True, False)


def test_gates_are_told_but_not_counted():
    def gate(x):
        return F.conv2d(x * torch.sigmoid(F.conv2d(x.mean((2, 3), keepdim=True), kernel(1, inputs=3, units=3))), kernel(3))

    found = field(gate)
    assert (found.size, found.gated, found.exact) == ((3.0, 3.0), True, True)
    assert field(lambda x: F.group_norm(x, 3)).gated
    assert not field(lambda x: x * F.avg_pool2d(x, 3, 1, 1)).gated  # a map, not a gate
    assert not field(lambda x: x + 2 * x.mean((2, 3), keepdim=True)).gated
    assert field(lambda x: x + 2 * x.mean((2, 3), keepdim=True)).whole


def test_branches_have_a_smallest_and_a_largest_path_and_say_whether_they_are_aligned():
    found = field(lambda x: F.conv2d(x, kernel(3, inputs=3, units=3), padding=1) + x)
    assert (found.size, found.smallest, found.row.spread) == ((3.0, 3.0), (1.0, 1.0), 0.0)
    loose = field(lambda x: F.conv2d(x, kernel(4, inputs=3, units=3), stride=2, padding=1) + x[:, :, ::2, ::2][:, :, :16, :16])
    assert loose.row.spread == 0.5  # 2j + 0.5 against 2j


@pytest.mark.parametrize(
    "masked", [lambda x, mask: x + torch.where(mask, -100.0, 0.0), lambda x, mask: x.masked_fill(mask, float("-inf"))]
)
def test_elements_under_a_mask_are_never_read(masked):
    """A mask over row 2: what an attention never reads has no field at all; a small number added does not mask."""
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[:, :, 2] = True
    value, reach, _ = followed(lambda x: masked(x, mask), (4, 4))
    last = reach.parts[1].expand(value.shape)[0, 0, :, 0].tolist()
    assert last == [0.0, 1.0, NEVER_SEEN, 3.0]
    _, reach, _ = followed(lambda x: x + torch.where(mask, -49.0, 0.0), (4, 4))
    assert reach.parts[1].flatten().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_writing_into_a_part_that_is_no_plain_view_may_reach_every_element():
    def make(x):
        whole = torch.zeros(1, 3, 33, 33)
        whole.transpose(2, 3)[:, :, :5] = F.avg_pool2d(x, 3, 1, 1)[:, :, :5]
        return whole

    found = field(make)
    assert (found.exact, found.unfollowed) == (False, ("writing into a part",))
    assert (found.rows(30), found.cols(0)) == ((-1, 5), (-1, 33))  # rows 0 to 4, pooled with their neighbours


def test_parts_get_new_axes_in_front_and_the_largest_wins():
    small, large = torch.tensor([[1.0], [5.0]]), torch.tensor([[3.0, 4.0]])
    assert [part.shape for part in align([small, large], torch.zeros(2, 2, 2, 2))] == [(1, 1, 2, 1), (1, 1, 1, 2)]
    assert elementwise_max([small, large, small]).tolist() == [[3.0, 4.0], [5.0, 5.0]]
