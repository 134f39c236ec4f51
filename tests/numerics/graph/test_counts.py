"""Multiply-adds by hand, above all those of attention: Q K^T and A V over n tokens of width d are 2 n² d, however it is written."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from microtome._torchvision import timm
from microtome.numerics.graph.counts import count_multiply_adds

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
