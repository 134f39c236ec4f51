import math

import pytest
import torch

from microtome.numerics.statistics.influence import influence_and_angle


def block_influence(x_in, x_out):
    return influence_and_angle(x_in, x_out)[0]


def angular_distance(x_in, x_out):
    return influence_and_angle(x_in, x_out)[1]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    # Three positions: same direction, right angle, opposite.
    x_in = torch.tensor([[[1.0, 0], [1, 0], [1, 0]]])
    x_out = torch.tensor([[[5.0, 0], [0, 2], [-3, 0]]])
    assert block_influence(x_in, x_out).tolist() == pytest.approx([(0 + 1 + 2) / 3])
    assert angular_distance(x_in, x_out).tolist() == pytest.approx([(0 + 0.5 + 1) / 3])


def test_the_plain_formulas_agree():
    x_in, x_out = random(4, 9, 16), random(4, 9, 16, seed=1)
    cosine = torch.nn.functional.cosine_similarity(x_in.double(), x_out.double(), dim=-1)
    assert torch.allclose(block_influence(x_in, x_out), 1 - cosine.mean(1), atol=1e-6)
    assert torch.allclose(angular_distance(x_in, x_out), (cosine.arccos() / math.pi).mean(1), atol=1e-6)


def test_an_identity_block_has_exactly_no_influence_at_any_scale():
    x = random(3, 5, 700)
    assert block_influence(x, x).tolist() == [0, 0, 0]
    assert angular_distance(x, x).tolist() == [0, 0, 0]
    assert block_influence(x, 7 * x).max() < 1e-12


def test_a_small_turn_keeps_its_digits():
    # 1 - cos(1e-3) = 5e-7: in float32 1 - u·v would leave one digit.
    x_in = torch.tensor([[[1.0, 0]]])
    x_out = torch.tensor([[[math.cos(1e-3), math.sin(1e-3)]]])
    assert float(block_influence(x_in, x_out)) == pytest.approx(1 - math.cos(1e-3), rel=1e-4)
    assert float(angular_distance(x_in, x_out)) == pytest.approx(1e-3 / math.pi, rel=1e-4)


def test_a_small_turn_from_the_opposite_keeps_its_digits():
    x_in = torch.tensor([[[1.0, 0]]])
    x_out = torch.tensor([[[-3 * math.cos(1e-3), 3 * math.sin(1e-3)]]])
    assert 1 - float(angular_distance(x_in, x_out)) == pytest.approx(1e-3 / math.pi, rel=1e-4)


def test_positions_without_direction_are_left_out():
    x_in, x_out = torch.tensor([[[1.0, 0], [0, 0]], [[0.0, 0], [0, 0]]]), torch.tensor([[[0.0, 1], [1, 1]]]).repeat(2, 1, 1)
    assert block_influence(x_in, x_out).tolist() == pytest.approx([1, math.nan], nan_ok=True)


def test_half_precision_is_measured_in_float32():
    x_in, x_out = random(2, 5, 64), random(2, 5, 64, seed=1)
    assert torch.allclose(block_influence(x_in.bfloat16(), x_out.bfloat16()), block_influence(x_in, x_out), atol=1e-2)


@pytest.mark.parametrize("shape", [(3, 50, 7), (2, 70, 4), (5, 3, 2), (2, 3, 600)])
def test_pieces_do_not_show(monkeypatch, shape):
    # 3 x 50 x 7 and the like are no whole number of pieces of 256 values, in images and in positions
    x_in, x_out = random(*shape), random(*shape, seed=1)
    whole = block_influence(x_in, x_out), angular_distance(x_in, x_out)
    monkeypatch.setattr("microtome.numerics.statistics.positions.PIECE_SIZE", 256)
    assert torch.equal(block_influence(x_in, x_out), whole[0])
    assert torch.equal(angular_distance(x_in, x_out), whole[1])
