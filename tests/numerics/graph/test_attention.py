"""Attention distances by hand, a Gaussian hill recovered, and what cannot be fitted."""

import math

import numpy as np
import pytest
import torch

from microtome.numerics.graph.attention import attention_distances, cell_distances, fit_hill, grid_attention, offset_table


def test_distances_of_a_grid_by_hand() -> None:
    apart = cell_distances((2, 3), (4.0, 10.0))
    assert apart[0].tolist() == pytest.approx([0, 10, 20, 4, math.hypot(10, 4), math.hypot(20, 4)])
    assert torch.equal(apart, apart.T)


def test_even_attention_on_a_grid_of_two_by_two_by_hand() -> None:
    even = torch.full((3, 2, 4, 4), 0.25)
    # from each corner: itself 0, two neighbours at 1, the diagonal at √2
    wanted = (0 + 1 + 1 + math.sqrt(2)) / 4
    assert attention_distances(even, cell_distances((2, 2))).flatten().tolist() == pytest.approx([wanted] * 6)


def test_looking_at_oneself_is_no_distance_and_at_the_neighbour_is_one_cell() -> None:
    apart = cell_distances((4, 4), (8.0, 8.0))
    assert float(attention_distances(torch.eye(16)[None, None], apart)) == 0.0
    neighbour = torch.zeros(16, 16)
    for token in range(16):
        neighbour[token, token + 1 if token % 4 < 3 else token - 1] = 1.0
    assert float(attention_distances(neighbour[None, None], apart)) == pytest.approx(8.0)


def test_class_tokens_neither_ask_nor_are_looked_at() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 11, 11, generator=draw).softmax(-1)
    apart = cell_distances((3, 3))
    inner = maps[..., 2:, 2:]
    alone = inner / inner.sum(-1, keepdim=True)
    slow = torch.zeros(2, 3, dtype=torch.float64)
    for token in range(9):
        for other in range(9):
            slow += alone[..., token, other].double() * apart[token, other] / 9
    assert torch.allclose(attention_distances(maps, apart), slow, atol=1e-7)
    assert torch.allclose(grid_attention(maps, 9), inner.double().sum(-1).mean(-1))


def test_tokens_that_look_at_the_class_token_alone_are_left_out() -> None:
    maps = torch.eye(5)[None, None].clone()
    maps[0, 0, 1] = torch.eye(5)[0]
    maps[0, 0, 2] = torch.eye(5)[1]
    assert float(attention_distances(maps, cell_distances((2, 2)))) == pytest.approx(1 / 3)  # of three, one looks one cell left
    maps[0, 0, 1:] = torch.eye(5)[0]
    assert math.isnan(float(attention_distances(maps, cell_distances((2, 2)))))


@pytest.mark.parametrize(("height", "sigma"), [(4.0, 1.7), (-2.0, 3.0), (0.5, 0.8)])
def test_a_hill_is_found_again_whatever_constant_it_stands_on(height: float, sigma: float) -> None:
    rows, cols = np.mgrid[-6:7, -5:6]
    table = height * np.exp(-(rows**2 + cols**2) / (2 * sigma**2)) - 7.5
    found = fit_hill(table)
    assert found.sigma == pytest.approx(sigma, rel=1e-4)
    assert found.height == pytest.approx(height, rel=1e-4)
    assert found.r2 == pytest.approx(1.0, abs=1e-6)


def test_noise_is_no_hill_and_flat_or_small_tables_are_not_fitted() -> None:
    draw = np.random.default_rng(0)
    assert fit_hill(draw.normal(size=(13, 13))).r2 < 0.15
    for table in (np.full((13, 13), 3.0), draw.normal(size=(3, 3)), np.full((13, 13), np.nan)):
        assert math.isnan(fit_hill(table).r2)


def test_offsets_are_means_over_pairs_that_lie_so() -> None:
    rows, cols = 2, 3
    draw = torch.Generator().manual_seed(1)
    bias = torch.rand(2, 6, 6, generator=draw, dtype=torch.float64)
    table = offset_table(bias, (rows, cols))
    assert table.shape == (2, 3, 5)
    for down in range(-1, 2):
        for right in range(-2, 3):
            pairs = [
                (a, b) for a in range(6) for b in range(6) if a // 3 - b // 3 == down and a % 3 - b % 3 == right
            ]  # fmt: skip
            wanted = np.mean([bias[:, a, b].numpy() for a, b in pairs], axis=0)
            assert table[:, down + 1, right + 2] == pytest.approx(wanted)
