"""LIME: a linear model near the image, whatever the scale of the score."""

import pytest
import torch
from torch import nn

from map_networks import noise, opened, seeded
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.instruments.attribution.kinds.lime import nearness

pytest.importorskip("captum")


def lime_map(net, x, classes):
    return attribution_maps(opened(net, 14, 14), ["input"], x, lambda _: [classes], map_kind("lime"))[1][0]["input"]


def test_finds_the_effects_of_a_linear_network_at_any_scale():
    """Effects shrink a little by the penalty; a score a thousandth as large gives the same map, a thousandth as large."""
    net, x, classes = seeded(nn.Sequential(nn.Flatten(), nn.Linear(588, 4))), noise(2, 14, 14), torch.tensor([1, 3])
    effects = (net[1].weight.detach()[classes].unflatten(1, (3, 14, 14)) * x).sum(1)
    wanted = effects.unfold(1, 2, 2).unfold(2, 2, 2).sum((3, 4)).repeat_interleave(2, 1).repeat_interleave(2, 2) / 4
    given = lime_map(net, x, classes)
    correlation = torch.corrcoef(torch.stack([given.flatten(), wanted.flatten()]))[0, 1]
    assert float(correlation) > 0.999
    assert 0.8 < float(given.abs().sum() / wanted.abs().sum()) < 1.0
    with torch.no_grad():
        net[1].weight /= 1000
        net[1].bias /= 1000
    assert torch.allclose(1000 * lime_map(net, x, classes), given, atol=1e-3 * float(given.abs().max()))


def test_samples_with_fewer_patches_weigh_less():
    weights = [nearness(None, None, torch.tensor([[1] * shown + [0] * (16 - shown)])) for shown in (16, 8, 4, 0)]
    assert weights[0] == 1.0 and weights == sorted(weights, reverse=True)
    assert weights[2] == pytest.approx(float(torch.exp(torch.tensor(-(0.5**2) / (2 * 0.25**2)))))
