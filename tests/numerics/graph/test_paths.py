"""Path lengths counted by hand for a chain, a residual network and a dense block; profiles of gradients by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from microtome.numerics.graph.paths import PathLength, centre_profile, depth_profile, path_lengths

DRAW = torch.Generator().manual_seed(0)


def weights(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(*shape, generator=DRAW).requires_grad_() for shape in shapes]


def told(loss: Tensor, picture: Tensor, outputs: Sequence[Tensor]) -> list[tuple[int, float, int]]:
    """Shortest, mean and number of paths to each output."""
    length = path_lengths(loss, picture)
    found = [length(one) for one in outputs]
    return [(one.shortest, one.mean, round(10**one.paths)) for one in found if isinstance(one, PathLength)]


def test_a_chain() -> None:
    """conv → relu → conv → mean → linear: 2, 1 and 0 weight layers from the loss."""
    x = torch.randn(2, 3, 6, 6).requires_grad_()
    w1, w2, w3 = weights((4, 3, 3, 3), (4, 4, 3, 3), (5, 4))
    one = F.conv2d(x, w1)
    two = F.conv2d(F.relu(one), w2)
    three = F.linear(two.mean((2, 3)), w3, torch.zeros(5, requires_grad=True))
    assert told(three.sum(), x, [one, two, three]) == [(2, 2.0, 1), (1, 1.0, 1), (0, 0.0, 1)]


def test_a_residual_network() -> None:
    """stem, two blocks x + conv(relu(conv(x))), a head. The stem is one layer away through both shortcuts.

    Its four paths pass 0, 2, 2 or 4 convolutions and the head: 3 on average. The first convolution of the first block is followed by
    the second one, then by shortcut or both convolutions of the second block, then by the head: 2 or 4.
    """
    x = torch.randn(2, 3, 6, 6).requires_grad_()
    stem, a1, a2, b1, b2 = weights((4, 3, 1, 1), *[(4, 4, 1, 1)] * 4)
    (head,) = weights((5, 4))
    first = F.conv2d(x, stem)
    inner = F.conv2d(F.relu(first), a1)
    after = first + F.conv2d(F.relu(inner), a2)
    last = F.conv2d(F.relu(after), b1)
    scores = F.linear((after + F.conv2d(F.relu(last), b2)).mean((2, 3)), head)
    assert told(scores.sum(), x, [first, inner, last, scores]) == [(1, 3.0, 4), (2, 3.0, 2), (2, 2.0, 1), (0, 0.0, 1)]


def test_a_dense_block() -> None:
    """stem, three layers that read all before them, a head that reads everything: every layer is one away, by 2ⁿ paths.

    From the stem the head is reached through any subset of the three layers: 8 paths, 1 + 1.5 weight layers on average.
    """
    x = torch.randn(2, 3, 6, 6).requires_grad_()
    (stem,) = weights((4, 3, 3, 3))
    parts = [F.conv2d(x, stem)]
    for layer in range(3):
        (w,) = weights((2, 4 + 2 * layer, 3, 3))
        parts.append(F.conv2d(F.relu(torch.cat(parts, 1)), w, padding=1))
    (head,) = weights((5, 10))
    scores = F.linear(torch.cat(parts, 1).mean((2, 3)), head)
    assert told(scores.sum(), x, parts) == [(1, 2.5, 8), (1, 2.0, 4), (1, 1.5, 2), (1, 1.0, 1)]


def test_what_is_no_weight_layer() -> None:
    """Products of two activations, position embeddings, norms and scales pass; a standardised weight still is a weight."""
    x = torch.randn(2, 3, 4).requires_grad_()
    w, place, scale = weights((4, 4), (1, 3, 4), (1, 1, 4))
    first = x @ (w - w.mean())
    mixed = (first @ first.transpose(1, 2)).softmax(-1) @ first
    scores = F.layer_norm((mixed + place) * scale, (4,)) @ w
    shortest, mean, _ = told(scores.sum(), x, [first])[0]
    assert (shortest, mean) == (1, 1.0)


def test_what_the_loss_does_not_hang_on() -> None:
    x = torch.randn(1, 3, 4, 4).requires_grad_()
    w, aside = weights((4, 3, 1, 1), (4, 3, 1, 1))
    length = path_lengths(F.conv2d(x, w).sum(), x)
    assert length(F.conv2d(x, aside)) is None


def test_profiles() -> None:
    falling = depth_profile(np.array([1e-3, 1e-3, 1e-1, 1.0, 1.0, 1.0]))
    assert falling.decades == pytest.approx((-3 - 3) / 2 - 0)
    assert depth_profile(np.ones(9)) == (0.0, 0.0)
    assert depth_profile(np.array([1.0, 0.0, np.nan, 1.0, 1.0])).decades == 0.0  # zeros and NaN are left out
    assert math.isnan(depth_profile(np.ones(2)).decades)
    np.testing.assert_allclose(centre_profile(np.array([1.0, 100.0])), [0.1, 10.0])
