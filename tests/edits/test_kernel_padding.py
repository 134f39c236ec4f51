"""Kernel padding: exact at every size and stride, what it makes of the forecast, and what it leaves alone."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome import testing
from microtome.errors import Uneditable
from microtome.networks.padded import PaddedConv2d, PaddedMaxPool2d
from microtome.numerics.receptive.evenness import fold_phases, forecast_phases, phase_ratio

Padding = mt.edits.kernel_padding.KernelPadding


@pytest.fixture(scope="module")
def mini() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.mark.parametrize("options", [{}, {"at": ("conv1.0",)}, {"pools": True}], ids=str)
def test_the_law_of_edits(options, mini, tmp_path) -> None:
    edited = testing.check_edit(Padding(**options), mini, mt.Images.scenes(6), tmp_path)
    padded = [part for part in edited.net.modules() if isinstance(part, PaddedConv2d | PaddedMaxPool2d)]
    assert len(padded) == (1 if "at" in options else 4 if "pools" in options else 3)
    assert edited.edits[-1].preserves == ("no" if "pools" in options else "exactly")


@pytest.mark.parametrize("size", [64, 65])
def test_resnet18_keeps_its_logits_and_its_forecast_becomes_even(size: int) -> None:
    net = mt.open("torchvision:resnet18", weights=None, recipe={"size": size})
    edited = Padding()(net)
    assert sum(isinstance(part, PaddedConv2d) for part in edited.net.modules()) == 7  # stem, three 3 x 3, three shortcuts
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    before, after = net.run(x), edited.run(x)
    assert float((before - after).abs().max()) < 1e-5 * float(before.std())
    pools = Padding(pools=True)(net)
    change = float((pools.run(x) - before).abs().max() / before.std())
    assert change > 1e-3  # the pool is another function, and says so
    assert pools.edits[-1].preserves == "no"
    if size == 64:
        blank = torch.zeros(1, 3, 224, 224)
        told = [phase_ratio(fold_phases(forecast_phases(one.net, blank), 8, 64)) for one in (net, edited, pools)]
        assert told[0] < told[1] < told[2]
        assert told[0] == pytest.approx(0.35, abs=0.1)
        assert told[2] == pytest.approx(1.0, abs=0.02)


def test_gradients_stay_until_the_zeros_are_trained(mini) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    slopes = []
    for net in (mini.net, Padding()(mini).net):
        one = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net(one)[0, 3], one)
        slopes.append(slope.numpy())
    np.testing.assert_allclose(slopes[1], slopes[0], atol=1e-5 * np.abs(slopes[0]).max())


def test_what_does_not_fit(mini) -> None:
    with pytest.raises(Uneditable, match="no convolution weights its pixels unevenly: the stride of each divides its kernel"):
        Padding()(mt.open("microtome:mini_deit", weights=None))
    with pytest.raises(Uneditable, match="no convolution among layer1.0.conv2 weights"):
        Padding(at=("layer1.0.conv2",))(mini)
    with pytest.raises(Uneditable, match="pools=true enlarges them"):
        Padding(at=("maxpool",))(mini)
