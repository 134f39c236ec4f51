"""Multiply-adds by hand, above all those of attention: Q K^T and A V over n tokens of width d are 2 n² d, however it is written."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from microtome._torchvision import timm
from microtome.numerics.graph.counts import count_multiply_adds, uncounted_operations

TOKENS, WIDTH, HEADS = 10, 12, 3
PRODUCTS = 2 * TOKENS * TOKENS * WIDTH
PROJECTIONS = 4 * TOKENS * WIDTH * WIDTH  # query, key, value, output


class Calling(nn.Module):
    """Any function of the input as a module."""

    def __init__(self, what, *parts):
        super().__init__()
        self.what, self.parts = what, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.what(x)


def attention(**options):
    def fused(x):
        heads = x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads, **options)

    return Calling(fused)


def multihead(**options):
    module = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).eval()
    return Calling(lambda x: module(x, x, x, **options)[0], module)


MASK = torch.zeros(TOKENS, TOKENS).masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), float("-inf"))


@pytest.mark.parametrize(
    ("net", "by_hand"),
    [
        (attention(), PRODUCTS),
        (attention(attn_mask=MASK), PRODUCTS),
        (attention(attn_mask=MASK == 0), PRODUCTS),
        (attention(is_causal=True), PRODUCTS),
        (multihead(need_weights=False), PROJECTIONS + PRODUCTS),
        (multihead(need_weights=True), PROJECTIONS + PRODUCTS),
        (multihead(need_weights=False, attn_mask=MASK), PROJECTIONS + PRODUCTS),
        (multihead(need_weights=False, key_padding_mask=torch.zeros(1, TOKENS).bool()), PROJECTIONS + PRODUCTS),
        (nn.TransformerEncoderLayer(WIDTH, HEADS, 20, batch_first=True).eval(), PROJECTIONS + PRODUCTS + 2 * TOKENS * WIDTH * 20),
        (Calling(lambda x: torch.mv(x[0], x[0, 0])), TOKENS * WIDTH),
        (Calling(lambda x: torch.addmv(x[0, :, 0], x[0], x[0, 0])), TOKENS * WIDTH),
        (Calling(lambda x: torch.addbmm(torch.zeros(TOKENS, TOKENS), x, x.mT)), TOKENS * WIDTH * TOKENS),
        (Calling(lambda x: x[0, 0].dot(x[0, 1])), WIDTH),
    ],
)  # fmt: skip
def test_by_hand(net, by_hand):
    assert count_multiply_adds(net, torch.rand(1, TOKENS, WIDTH)) == by_hand


def test_grouped_queries_and_values_of_another_width():
    """4 heads ask 2 heads of keys of width 5 and values of width 7: 4 · n² · (5 + 7)."""

    def ask(x):
        keys, values = x[:, :2, :, :5], x[:, :2, :, :7]
        return F.scaled_dot_product_attention(x[..., :5], keys, values, enable_gqa=True)

    assert count_multiply_adds(Calling(ask), torch.rand(1, 4, TOKENS, 8)) == 4 * TOKENS * TOKENS * (5 + 7)


def test_batches_count_by_image():
    assert count_multiply_adds(attention(), torch.rand(3, TOKENS, WIDTH)) == 3 * PRODUCTS


@pytest.mark.parametrize("fused", [True, False])
def test_deit_small_has_4_60_g(fused):
    """The published 4.6 G (Touvron et al. 2021, table 5): 4.24 without the 12 attentions of 2 · 197² · 384 each."""
    net = timm().create_model("deit_small_patch16_224").eval()
    for block in net.blocks:
        block.attn.fused_attn = fused
    counted = count_multiply_adds(net, torch.zeros(1, 3, 224, 224))
    assert counted == 4_598_882_304
    assert round(counted / 1e9, 2) == 4.60


def test_window_attention_agrees_with_attention_spelt_out():
    """Swin's windows with their masks, by torch's own counter of matrix products."""
    net = timm().create_model("swin_tiny_patch4_window7_224", embed_dim=12, depths=(2, 2), num_heads=(1, 1), img_size=56).eval()
    x = torch.zeros(1, 3, 56, 56)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(x)
    assert count_multiply_adds(net, x) == counter.get_total_flops() / 2


STEPS, HIDDEN = TOKENS, 5
OF_A_STEP = WIDTH + HIDDEN  # columns of the two matrices of a recurrent layer, by gate and hidden unit


def recurrent(kind, **options):
    module = kind(WIDTH, HIDDEN, batch_first=True, **options).eval()
    return Calling(lambda x: module(x)[0], module)


@pytest.mark.parametrize(
    ("net", "by_hand"),
    [
        (recurrent(nn.RNN), STEPS * HIDDEN * OF_A_STEP),
        (recurrent(nn.GRU), STEPS * 3 * HIDDEN * OF_A_STEP),
        (recurrent(nn.LSTM), STEPS * 4 * HIDDEN * OF_A_STEP),
        (recurrent(nn.LSTM, bias=False), STEPS * 4 * HIDDEN * OF_A_STEP),
        # the second layer reads both directions of the first
        (recurrent(nn.LSTM, num_layers=2, bidirectional=True), 2 * STEPS * 4 * HIDDEN * (OF_A_STEP + 3 * HIDDEN)),
        (recurrent(nn.GRU, num_layers=2, bidirectional=True), 2 * STEPS * 3 * HIDDEN * (OF_A_STEP + 3 * HIDDEN)),
        # a projection to 3: states of width 3, and a matrix of 3 by 5
        (recurrent(nn.LSTM, proj_size=3), STEPS * (4 * HIDDEN * (WIDTH + 3) + 3 * HIDDEN)),
    ],
)  # fmt: skip
def test_recurrent_layers_by_hand(net, by_hand):
    for images in (1, 3):
        assert count_multiply_adds(net, torch.rand(images, STEPS, WIDTH)) == images * by_hand


def test_recurrent_cells_and_bilinear_layers_by_hand():
    """Each of 7 outputs of a bilinear layer over widths 12 and 6: 12 · 6 for the matrix, 6 for the second input."""
    cell, pair = nn.LSTMCell(WIDTH, HIDDEN), nn.Bilinear(WIDTH, 6, 7)
    x = torch.rand(1, TOKENS, WIDTH)
    assert count_multiply_adds(Calling(lambda x: cell(x[0])[0], cell), x) == TOKENS * 4 * HIDDEN * OF_A_STEP
    assert count_multiply_adds(Calling(lambda x: pair(x, x[..., :6]), pair), x) == TOKENS * 7 * (WIDTH * 6 + 6)


def test_what_is_not_counted_is_named():
    """Views, copies and comparisons are nothing; a convolution and a linear layer are counted; the rest has a name."""
    x = torch.rand(1, 3, 8, 8)
    assert uncounted_operations(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), x) == []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    assert uncounted_operations(net, x) == ["activation", "normalisation", "pooling"]
    assert uncounted_operations(Calling(lambda x: torch.cdist(x, x)), x) == ["the operation _cdist_forward"]
    assert uncounted_operations(recurrent(nn.LSTM), torch.rand(1, STEPS, WIDTH)) == []
