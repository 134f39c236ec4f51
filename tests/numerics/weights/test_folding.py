import pytest
import torch
from torch import nn

from microtome.numerics.weights.folding import fold_norm


def seeded(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def planted(norm, seed=0):
    """The norm with statistics and scales of both signs, one of them zero."""
    units = norm.num_features
    norm.running_mean = seeded(units, seed=seed)
    norm.running_var = seeded(units, seed=seed + 1).square() + 0.1
    if norm.affine:
        norm.weight.data = seeded(units, seed=seed + 2)
        norm.weight.data[:2] = torch.tensor([-1.5, 0.0])
        norm.bias.data = seeded(units, seed=seed + 3)
    return norm.eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_conv_and_norm_are_one_conv(groups, bias, affine):
    conv = nn.Conv2d(8, 16, 3, padding=1, groups=groups, bias=bias)
    norm = planted(nn.BatchNorm2d(16, affine=affine))
    one = nn.Conv2d(8, 16, 3, padding=1, groups=groups)
    weight, shift = fold_norm(conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
    one.weight.data, one.bias.data = weight.data, shift.data
    x = seeded(2, 8, 9, 7, seed=9)
    expected = norm(conv(x))
    assert (one(x) - expected).abs().max() < 1e-6 * (1 + expected.abs().max())


def test_linear_and_norm_are_one_linear():
    linear, norm = nn.Linear(5, 6), planted(nn.BatchNorm1d(6))
    weight, shift = fold_norm(linear.weight, linear.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
    x = seeded(4, 5, seed=9)
    assert torch.allclose(x @ weight.T + shift, norm(linear(x)), atol=1e-6)


def test_by_hand():
    # gamma/sqrt(var + eps) = 6/sqrt(8 + 1) = 2; weight 3·2; bias (1 - 4)·2 + 5.
    weight, bias = fold_norm(*(torch.tensor(v) for v in ([[3.0]], [1.0], [6.0], [5.0], [4.0], [8.0])), 1.0)
    assert (weight.item(), bias.item()) == (6, -1)
