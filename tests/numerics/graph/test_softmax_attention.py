"""Attention found by what is computed, against maps computed by hand."""

from math import sqrt
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.numerics.graph.softmax_attention import AttentionMode, AttentionSize


def tensors(*shape: int, count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for _ in range(count)]


def written(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.dropout((q @ k.mT / sqrt(q.shape[-1])).softmax(dim=-1), 0.5, training=False) @ v


WAYS: dict[str, Any] = {
    "fused": F.scaled_dot_product_attention,
    "written out": written,
    "einsum": lambda q, k, v: torch.einsum(
        "...qk,...kd->...qd", torch.softmax(torch.einsum("...qd,...kd->...qk", q, k) / sqrt(q.shape[-1]), -1), v
    ),
    "module": lambda q, k, v: torch.matmul(torch.nn.Softmax(dim=-1)(q @ k.mT / sqrt(q.shape[-1])), v),
}


@pytest.mark.parametrize("way", sorted(WAYS))
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 5, 4)])
def test_every_way_shows_the_same_map(way: str, shape: tuple[int, ...]) -> None:
    q, k, v = tensors(*shape)
    seen: list[tuple[AttentionSize, Tensor]] = []
    with AttentionMode(lambda size, weights: seen.append((size, weights()))):
        value = WAYS[way](q, k, v)
    torch.testing.assert_close(value, written(q, k, v))
    heads = 3 if len(shape) == 4 else 1
    assert [size for size, _ in seen] == [AttentionSize(heads, 5, 5, 4)]
    torch.testing.assert_close(seen[0][1], torch.softmax(q @ k.mT / 2, -1).reshape(2, heads, 5, 5))


@pytest.mark.parametrize("mask", ["boolean", "added", "causal"])
def test_masks_of_the_fused_kernel(mask: str) -> None:
    q, k, v = tensors(2, 3, 5, 4)
    allowed = torch.ones(5, 5, dtype=torch.bool).tril()
    added = torch.zeros(5, 5).masked_fill(~allowed, float("-inf"))
    masks: dict[str, dict[str, Any]] = {
        "boolean": {"attn_mask": allowed},
        "added": {"attn_mask": added},
        "causal": {"is_causal": True},
    }
    seen: list[Tensor] = []
    with AttentionMode(lambda _size, weights: seen.append(weights())):
        value = F.scaled_dot_product_attention(q, k, v, scale=0.3, **masks[mask])
    torch.testing.assert_close(seen[0] @ v, value)
    torch.testing.assert_close(seen[0], (q @ k.mT * 0.3 + added).softmax(-1))


def test_what_is_no_attention() -> None:
    x = tensors(2, 5, 4, count=1)[0]
    seen: list[AttentionSize] = []
    with AttentionMode(lambda size, _weights: seen.append(size)):
        _ = x.softmax(-1) * x  # a gate
        _ = x @ x.softmax(-2).mT  # the weights are the other factor
        _ = torch.relu(x @ x.mT) @ x
        _ = x.softmax(1) @ torch.ones(4, 3)  # over the queries
    assert seen == []
