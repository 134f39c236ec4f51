"""Receptive fields by arithmetic, operation by operation: by hand, and against NaN that is let loose in one row at a time."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microtome.numerics.receptive.field import ReachMode, expand_parts, field_of


def field(make, size=(33, 33), shaped=lambda value: value):
    """The field of what `make` gives for an image; `shaped` brings values to (image, unit, row, col)."""
    x = torch.zeros(1, 3, *size)
    with torch.no_grad(), ReachMode(x) as reach:
        value = make(x)
        shade, where = reach.of(value)
    return field_of([shaped(part) for part in expand_parts(shade, value.shape)], shade, where, size)


def nan_rows(make, size=(33, 33), shaped=lambda value: value):
    """[(first, last)] row of the image that each row of cells depends on; slow and obvious."""
    seen = []
    for row in range(size[0]):
        x = torch.full((1, 3, *size), 0.5)
        x[:, :, row] = float("nan")
        with torch.no_grad():
            seen.append(shaped(make(x)).isnan().any(3).any(1)[0])
    hit = torch.stack(seen)  # (pixel, cell)
    return [(int(one.nonzero()[0]), int(one.nonzero()[-1])) for one in hit.T]


def clipped(span):
    return [(max(0, first), min(span.side - 1, last)) for first, last in (span.pixels(j) for j in range(len(span.first)))]


def kernel(rows, cols=None, inputs=3, units=4):
    return torch.ones(units, inputs, rows, cols or rows)


def windows(x, side=4):
    """Window attention by hand: tokens of one window of `side` cells look at each other."""
    image, unit, rows, cols = x.shape
    parted = x.permute(0, 2, 3, 1).view(image, rows // side, side, cols // side, side, unit).transpose(2, 3)
    tokens = parted.reshape(-1, side * side, unit)
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    back = mixed.view(image, rows // side, cols // side, side, side, unit).transpose(2, 3)
    return back.reshape(image, rows, cols, unit).permute(0, 3, 1, 2)


def put(into, x, rows, *, add=False):
    """`into` with `x` written or added in place into some of its rows."""
    if add:
        into[:, :, rows] += x
    else:
        into[:, :, rows] = x
    return into


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
    "slice": lambda x: x[:, :, 3:29:2],
    "patch merging": lambda x: torch.cat([x[:, :, 0:32:2], x[:, :, 1:33:2]], 1),
    "unequal branches": lambda x: torch.cat([x, F.conv2d(x, kernel(7), padding=3)], 1),
    "sum of branches": lambda x: F.conv2d(x, kernel(3), padding=1) + F.conv2d(x, kernel(5), padding=2),
    "roll": lambda x: torch.roll(F.conv2d(x, kernel(3), padding=1), 5, 2),
    "strips": lambda x: x + x.mean(3, keepdim=True),
    "written into zeros": lambda x: F.conv2d(put(torch.zeros(1, 3, 33, 33), x[:, :, :-2], slice(2, None)), kernel(3)),
    "every second row written": lambda x: F.conv2d(put(x.new_zeros(1, 3, 65, 33), x, slice(None, None, 2)), kernel(2)),
    "written over": lambda x: put(F.conv2d(x, kernel(3), padding=1), F.avg_pool2d(x, 5, 1, 2)[:, :1, 9:20], slice(9, 20)),
    "added to a part": lambda x: put(F.conv2d(x, kernel(3), padding=1), x[:, :1, 14:21], slice(20, 27), add=True),
}  # fmt: skip


# cells at each end that are left out: taps with gaps between them, padding cells of pooled maps, taps of weight zero
EDGE = {"dilation": 3, "transposed, sparse": 2, "bilinear": 1}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", MAKERS)
def test_every_cell_agrees_with_nan(name):
    make = MAKERS[name]
    found = field(make)
    edge = EDGE.get(name, 0)
    own, theirs = clipped(found.row), nan_rows(make)
    assert len(own) == len(theirs)
    assert own[edge : len(own) - edge] == theirs[edge : len(own) - edge]
    assert found.exact
    assert not found.gated


def test_windows_and_shifted_windows():
    """Two windows of 4 cells meet after a shift by 2: 8 rows, and NaN agrees."""

    def make(x):
        x = x + windows(x)
        return torch.roll(windows(torch.roll(x, (-2, -2), (2, 3))), (2, 2), (2, 3))

    found = field(make, (32, 32))
    assert clipped(found.row)[2:-2] == nan_rows(make, (32, 32))[2:-2]
    assert found.rows(13) == (8, 15)
    assert not found.whole


def test_masked_attention_does_not_look():
    """A mask of -100 cuts the tokens in two halves, whether added to the logits or handed to the fused operation."""
    mask = torch.zeros(16, 16)
    mask[:8, 8:] = mask[8:, :8] = -100.0

    def fused(x):
        tokens = x[:, :, :, :1].flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=mask)

    def plain(x):
        tokens = x[:, :, :, :1].flatten(2).transpose(1, 2)
        return (tokens @ tokens.transpose(1, 2) + mask[None]).softmax(-1) @ tokens

    for make in (fused, plain):
        found = field(make, (16, 1), lambda value: value.transpose(1, 2).reshape(1, -1, 16, 1))
        assert [found.rows(j) for j in (0, 7, 8, 15)] == [(0, 7), (0, 7), (8, 15), (8, 15)]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: F.adaptive_avg_pool2d(F.conv2d(x, kernel(3), stride=2), 1),
        lambda x: F.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)] * 3).transpose(1, 2).view(x.shape),
        lambda x: F.linear(x.flatten(2), torch.ones(9, x.shape[2] * x.shape[3])).view(1, 3, 3, 3),
        lambda x: x + x.amax((2, 3), keepdim=True),
        lambda x: F.conv2d(x.mean((2, 3), keepdim=True) + x, kernel(3)),
    ],
)
def test_what_sums_over_all_cells_sees_the_whole_picture(make):
    found = field(make, (8, 8))
    assert found.whole
    assert found.size == (float("inf"), float("inf"))
    assert found.rows(0) == (0, 7)
    assert not field(lambda x: F.conv2d(x, kernel(8)), (8, 8)).whole  # a large kernel only happens to


def test_strips_are_whole_along_one_axis():
    found = field(MAKERS["strips"])
    assert (found.row.whole, found.col.whole, found.whole) == (False, True, False)


def test_gates_are_told_but_not_counted():
    def gate(x):
        return F.conv2d(x * torch.sigmoid(F.conv2d(x.mean((2, 3), keepdim=True), kernel(1, inputs=3, units=3))), kernel(3))

    found = field(gate)
    assert (found.size, found.gated, found.exact) == ((3.0, 3.0), True, True)
    assert field(lambda x: F.group_norm(x, 3)).gated
    assert not field(lambda x: x * F.avg_pool2d(x, 3, 1, 1)).gated  # a map, not a gate
    assert not field(lambda x: x + 2 * x.mean((2, 3), keepdim=True)).gated
    assert field(lambda x: x + 2 * x.mean((2, 3), keepdim=True)).whole


def test_class_tokens_see_nothing_until_they_attend():
    def tokens(x):
        return torch.cat([torch.zeros(1, 1, 3), x.flatten(2).transpose(1, 2)], 1)

    shaped = lambda value: value[:, :1].transpose(1, 2)[..., None]  # noqa: E731
    alone = field(tokens, (4, 4), shaped)
    assert alone.size == (0.0, 0.0)
    together = field(lambda x: F.scaled_dot_product_attention(*[tokens(x)] * 3), (4, 4), shaped)
    assert together.whole


def test_what_is_not_followed_is_named_and_taken_as_large_as_it_can_be():
    found = field(lambda x: x.cumsum(2))
    assert (found.exact, found.unfollowed) == (False, ("cumsum",))
    assert found.rows(5) == (0, 32)


def test_three_dilated_convolutions_see_13_pixels():
    """1 + 3 · (3 - 1) · 2; a handler that ignores dilation says 7."""
    net = nn.Sequential(*(nn.Conv2d(3, 3, 3, dilation=2) for _ in range(3)))
    found = field(net)
    assert (found.size, found.smallest, found.jump, found.center) == ((13.0, 13.0), (13.0, 13.0), (1.0, 1.0), (6.0, 6.0))


def test_branches_have_a_smallest_and_a_largest_path_and_say_whether_they_are_aligned():
    found = field(lambda x: F.conv2d(x, kernel(3, inputs=3, units=3), padding=1) + x)
    assert (found.size, found.smallest, found.row.spread) == ((3.0, 3.0), (1.0, 1.0), 0.0)
    loose = field(lambda x: F.conv2d(x, kernel(4, inputs=3, units=3), stride=2, padding=1) + x[:, :, ::2, ::2][:, :, :16, :16])
    assert loose.row.spread == 0.5  # 2j + 0.5 against 2j


def test_one_by_one_what_was_told_wrong():
    """Antialiasing reads all that it averages (gradients say which), unfold does not see pixel 0, running maxima see back."""
    antialiased = field(lambda x: F.interpolate(x, size=(9, 9), mode="bilinear", antialias=True), (32, 32))
    own = torch.ones(1, 3, 32, 32, requires_grad=True)
    made = F.interpolate(own, size=(9, 9), mode="bilinear", antialias=True)
    slope = torch.autograd.grad(made[0, 0, 4, 4], own)[0][0, 0].sum(1).nonzero().flatten()
    assert antialiased.rows(4) == (int(slope[0]), int(slope[-1]))
    windows = field(lambda x: F.unfold(x, 5, padding=2, stride=2).reshape(1, 3, 25, 16, 16).mean(2), (32, 32))
    assert (windows.rows(5), windows.size, windows.center, windows.jump) == ((8, 12), (5.0, 5.0), (0.0, 0.0), (2.0, 2.0))
    for running in (lambda x: x.cummax(2)[0], lambda x: x.logcumsumexp(2)):
        assert not field(running).exact
    assert field(lambda x: F.glu(torch.cat([x, F.conv2d(x, kernel(3, units=3), padding=1)], 1), 1)).size == (3.0, 3.0)
    scaled = field(lambda x: F.interpolate(x, scale_factor=0.37, mode="bilinear"), (32, 32))
    assert scaled.jump == pytest.approx((1 / 0.37, 1 / 0.37))  # torch takes the factor, not 32 / 11


def test_a_pattern_of_cells_goes_on_beyond_the_border():
    """Two 4 x 4 transposed convolutions at stride 2 around a 3 x 3: 7 + 3 · 4 = 19 px; moving the outermost cell on says 21."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 4, 2, 1), nn.Conv2d(4, 4, 3, 1, 1),
        nn.ConvTranspose2d(4, 4, 4, 2, 1),
    )  # fmt: skip
    assert field(net, (64, 64)).size == (19.0, 19.0)
