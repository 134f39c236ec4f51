"""Receptive fields after sums over many elements: masks, windows, strips and whole images, against NaN and by hand."""

import pytest
import torch
import torch.nn.functional as F

from nan_rows import clipped, field, kernel, nan_rows


def windows(x, side=4):
    """Window attention by hand: tokens of one window of `side` cells look at each other."""
    image, unit, rows, cols = x.shape
    parted = x.permute(0, 2, 3, 1).view(image, rows // side, side, cols // side, side, unit).transpose(2, 3)
    tokens = parted.reshape(-1, side * side, unit)
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    back = mixed.view(image, rows // side, cols // side, side, side, unit).transpose(2, 3)
    return back.reshape(image, rows, cols, unit).permute(0, 3, 1, 2)


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
    strips = lambda x: x + x.mean(3, keepdim=True)  # noqa: E731
    found = field(strips)
    assert clipped(found.row) == nan_rows(strips)
    assert (found.row.whole, found.col.whole, found.whole) == (False, True, False)


def test_a_causal_mask_lets_each_token_see_those_before_it():
    def causal(x):
        tokens = x[:, :, :, :1].flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)

    shaped = lambda value: value.transpose(1, 2).reshape(1, -1, 16, 1)  # noqa: E731
    assert [field(causal, (16, 1), shaped).rows(j) for j in (0, 5, 15)] == [(0, 0), (0, 5), (0, 15)]


def test_a_sum_over_units_leaves_a_position_what_it_was():
    for make in (lambda x: x.sum(1, keepdim=True), lambda x: x.softmax(1), lambda x: x.amax(1, keepdim=True)):
        assert field(make).size == (1.0, 1.0)


def test_class_tokens_see_nothing_until_they_attend():
    def tokens(x):
        return torch.cat([torch.zeros(1, 1, 3), x.flatten(2).transpose(1, 2)], 1)

    shaped = lambda value: value[:, :1].transpose(1, 2)[..., None]  # noqa: E731
    alone = field(tokens, (4, 4), shaped)
    assert alone.size == (0.0, 0.0)
    together = field(lambda x: F.scaled_dot_product_attention(*[tokens(x)] * 3), (4, 4), shaped)
    assert together.whole


@pytest.mark.parametrize("heads", [1, 3])
def test_the_fused_kernel_of_several_heads_sees_what_the_plain_one_sees(heads):
    """With four axes torch takes one fused operation, with three it writes attention out."""
    mask = torch.zeros(16, 16)
    mask[:8, 8:] = mask[8:, :8] = -100.0
    shaped = lambda value: value[:, :1, :, :1]  # noqa: E731

    def fused(x, **options):
        tokens = x[:, :, :, :1].flatten(2).transpose(1, 2)[:, None].expand(-1, heads, -1, -1)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, **options)

    def rows(make):
        found = field(make, (16, 1), shaped)
        return [found.rows(j) for j in (0, 7, 8, 15)]

    assert rows(lambda x: fused(x, attn_mask=mask)) == [(0, 7), (0, 7), (8, 15), (8, 15)]
    assert rows(lambda x: fused(x, attn_mask=mask == 0)) == [(0, 7), (0, 7), (8, 15), (8, 15)]
    assert rows(lambda x: fused(x, is_causal=True)) == [(0, 0), (0, 7), (0, 8), (0, 15)]
    assert field(fused, (16, 1), shaped).row.whole


def test_constant_queries_see_what_they_attend_to_and_constant_keys_nothing_more():
    def tokens(x):
        return x[:, :, :, :1].flatten(2).transpose(1, 2)[:, None]

    shaped = lambda value: value  # noqa: E731
    learnt = torch.ones(1, 1, 5, 3)
    asked = field(lambda x: F.scaled_dot_product_attention(learnt, tokens(x), tokens(x)), (16, 1), shaped)
    assert asked.row.whole and len(asked.row.first) == 5
    table = field(lambda x: F.scaled_dot_product_attention(tokens(x), learnt, learnt), (16, 1), shaped)
    assert [table.rows(j) for j in (0, 9)] == [(0, 0), (9, 9)]
