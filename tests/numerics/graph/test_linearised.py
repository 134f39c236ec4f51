"""Rectifiers of every spelling, pools and gates under `LineariseMode`, and the crop."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from microtome.errors import Unmeasurable
from microtome.numerics.graph.linearised import LineariseMode, central_crop

X = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "act",
    [
        nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(0.3), nn.GELU(), nn.SiLU(), nn.Hardswish(), nn.ELU(), nn.Mish(),
        nn.PReLU(), torch.relu, functional.relu, functional.relu_, torch.Tensor.relu, lambda x: x.relu_(), lambda x: functional.gelu(x),
    ],
    ids=lambda act: type(act).__name__,
)  # fmt: skip
def test_rectifiers_of_every_spelling_give_back_what_they_got(act):
    with LineariseMode() as mode:
        assert torch.equal(act(X.clone()), X)
    assert mode.removed == 1
    assert not torch.equal(act(X.clone()), X)  # and are themselves again afterwards


@pytest.mark.parametrize("padding", [0, 1])
def test_a_maximum_pool_becomes_the_mean_of_its_windows(padding):
    pools = (nn.MaxPool2d(3, 2, padding), lambda x: functional.max_pool2d(x, 3, 2, padding))
    padded = functional.pad(X, [padding] * 4, value=float("nan"))
    windows = padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
    for pool in pools:
        with LineariseMode() as mode:
            found = pool(X)
        assert torch.allclose(found, windows.nanmean(4), atol=1e-6)
        assert mode.averaged == 1
    with LineariseMode():
        assert torch.allclose(nn.AdaptiveMaxPool2d(1)(X), X.mean((2, 3), keepdim=True), atol=1e-6)
        assert torch.allclose(nn.MaxPool2d(2)(X), functional.avg_pool2d(X, 2))
        with pytest.raises(Unmeasurable, match="with holes"):
            nn.MaxPool2d(2, dilation=2)(X)


def test_gates_stand_half_open_and_lead_nowhere():
    x = X.clone().requires_grad_()
    with LineariseMode() as mode:
        out = x * torch.sigmoid(x.mean()) + x * nn.Hardsigmoid()(x)
    assert torch.allclose(torch.autograd.grad(out.sum(), x)[0], torch.ones_like(x))
    assert mode.held == 2


def test_the_crop_is_about_the_middle_of_what_is_not_zero():
    weights = torch.zeros(2, 3, 11, 9)
    weights[:, :, 2:9, 1:6] = 1.0
    cut, inside = central_crop(weights, 9)
    assert cut.shape == (2, 3, 7, 5)  # nothing lost: cut to the box
    assert inside == 1
    weights[:, :, 5, 3] = 4
    cut, inside = central_crop(weights, 3)
    assert cut.shape == (2, 3, 3, 3)
    assert cut[0, 0].tolist() == [[1, 1, 1], [1, 4, 1], [1, 1, 1]]
    assert inside == pytest.approx((8 + 16) / (34 + 16))
    assert central_crop(torch.zeros(1, 1, 5, 5), 3)[0].shape == (1, 1, 3, 3)
