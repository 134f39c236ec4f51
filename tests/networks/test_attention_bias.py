"""The Gaussian bias of attention: by hand, against torch's own attention with the bias in its mask, and timm's table."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from microtome.networks.attention_bias import LEAST, BiasedAttention, BiasedTable, GaussianBias


@pytest.mark.parametrize(("form", "height"), [("squared", 9.0), ("plain", 3.0)])
def test_the_hill_by_hand(form, height) -> None:
    """On 2 x 3 positions, numbered row by row, behind one token without a place."""
    bias = GaussianBias((2, 3), 1, 3.0, 0.5, form)
    found = bias().detach()
    assert found.shape == (7, 7)
    assert found[0].tolist() == found[:, 0].tolist() == [0.0] * 7
    for one in range(6):
        for other in range(6):
            squared = (one // 3 - other // 3) ** 2 + (one % 3 - other % 3) ** 2
            wanted = height * math.exp(-squared / (2 * 0.25 + LEAST))
            assert float(found[1 + one, 1 + other]) == pytest.approx(wanted, rel=1e-5)


def test_it_is_learnt_and_can_be_set_back_and_is_defined_at_zero_width() -> None:
    bias = GaussianBias((2, 2), 0, 1.0, 0.7, "plain")
    bias().sum().backward()
    assert bias.amplitude.grad is not None and bias.sigma.grad is not None
    assert float(bias.amplitude.grad) > 0 and float(bias.sigma.grad) > 0  # a higher or wider hill has a larger sum
    with torch.no_grad():
        bias.sigma.zero_()
        bias.amplitude.fill_(5.0)
    assert torch.equal(bias().detach(), 5 * torch.eye(4))
    bias.reset_parameters()
    assert [bias.amplitude.item(), bias.sigma.item()] == pytest.approx([1.0, 0.7])
    assert list(bias.state_dict()) == ["amplitude", "sigma"]


class Attention(nn.Module):
    """One head; the mask is added to its logits under either name."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, mask: Tensor | None = None, scale: float = 1.0) -> Tensor:
        given = attn_mask if attn_mask is not None else mask
        return functional.scaled_dot_product_attention(x, x, x, given, scale=scale)


@pytest.mark.parametrize("word", ["attn_mask", "mask"])
@pytest.mark.parametrize("kind", ["none", "added", "boolean"])
def test_the_bias_joins_whatever_mask_there_is(word, kind) -> None:
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    bias = GaussianBias((2, 3), 0, 2.0, 1.0, "squared")
    allowed = torch.ones(6, 6).tril().bool()
    added = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    mask = {"none": None, "added": added, "boolean": allowed}[kind]
    with torch.no_grad():
        found = BiasedAttention(Attention(), bias, word)(x, **{word: mask}, scale=0.5)
        logits = 0.5 * x @ x.transpose(1, 2) + bias()
        logits = (
            logits + added if kind == "added" else logits.masked_fill(~allowed, -torch.inf) if kind == "boolean" else logits
        )
    assert torch.allclose(found, logits.softmax(-1) @ x, atol=1e-6)


def test_it_lies_on_top_of_a_learnt_table() -> None:
    class Table(nn.Module):
        window_size = (2, 2)

        def get_bias(self) -> Tensor:
            return torch.arange(32.0).reshape(1, 2, 4, 4)

    bias = GaussianBias((2, 2), 0, 1.0, 1.0, "plain")
    both, logits = BiasedTable(Table(), bias), torch.ones(3, 2, 4, 4)
    assert both.window_size == (2, 2)
    assert torch.equal(both(logits), logits + torch.arange(32.0).reshape(1, 2, 4, 4) + bias())
