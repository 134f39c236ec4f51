"""SmoothGrad: the mean of gradients of noisy copies, as captum's with the same noise, and exact on linear networks."""

import pytest
import torch
from torch import nn

from map_networks import flattened, noise, opened, seeded
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.instruments.attribution.kinds.smoothgrad import COPIES, NOISE, noisy_copies


def smooth_map(net, x, classes, memory=None):
    return attribution_maps(opened(net), ["input"], x, lambda _: [classes], map_kind("smoothgrad"), memory=memory)[1][0][
        "input"
    ]


def test_of_a_linear_network_it_is_the_size_of_the_weights():
    net, x, classes = seeded(nn.Sequential(nn.Flatten(), nn.Linear(432, 4))), noise(), torch.tensor([1, 3])
    weights = net[1].weight.detach()[classes].unflatten(1, (3, 12, 12))
    assert torch.allclose(smooth_map(net, x, classes), weights.abs().amax(1), atol=1e-6)


def test_equals_captum_with_the_same_noise(monkeypatch):
    captum = pytest.importorskip("captum.attr")
    net, x, classes = flattened(12, 12), noise(1), torch.tensor([3])
    copies = noisy_copies(x, range(COPIES))[:, 0]
    monkeypatch.setattr(torch, "normal", lambda *_: copies - x)
    tunnel = captum.NoiseTunnel(captum.Saliency(net))
    wanted = tunnel.attribute(x, nt_samples=COPIES, nt_type="smoothgrad", target=classes, abs=False).abs().amax(1)
    monkeypatch.undo()
    for memory in (None, 1.0):  # all copies at once, or one after the other
        assert torch.allclose(smooth_map(net, x, classes, memory), wanted, atol=1e-5 * float(wanted.max()))


def test_noise_is_a_fraction_of_the_range_of_each_image():
    x = noise(2, 64, 64) * torch.tensor([1.0, 5.0])[:, None, None, None]
    spread = (noisy_copies(x, range(4)) - x).std((0, 2, 3, 4))
    wanted = NOISE * (x.amax((1, 2, 3)) - x.amin((1, 2, 3)))
    assert spread.tolist() == pytest.approx(wanted.tolist(), rel=0.02)
