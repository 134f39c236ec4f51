"""Integrated gradients: closed form on linear networks, complete in float64, as captum's, with more points where they are needed."""

import pytest
import torch
from torch import nn

from map_networks import flattened, noise, opened, seeded
from microtome.instruments.attribution import map_kind, target_maps
from microtome.instruments.attribution.kinds.integratedgradients import POINTS, integrated_gradients
from microtome.instruments.attribution.pixel_targets import PixelTargets
from microtome.specimen import Specimen

KIND = map_kind("integratedgradients")


def made_by(net, x, classes, specimen=None):
    def ask(scores):
        return [scores.gather(1, classes[:, None])[:, 0]]

    return target_maps(specimen or opened(net), ["input"], x, Specimen.logits, ask, KIND)


def test_of_a_linear_network_it_is_weight_times_image():
    net, x, classes = seeded(nn.Sequential(nn.Flatten(), nn.Linear(432, 4))), noise(), torch.tensor([1, 3])
    weights = net[1].weight.detach()[classes].unflatten(1, (3, 12, 12))
    made = made_by(net, x, classes)
    assert torch.allclose(made.maps[0]["input"], (weights * x).sum(1), atol=1e-5)
    assert float(made.gaps.max()) < 1e-4


def test_complete_in_double_precision_on_a_smooth_network():
    net = seeded(nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(600, 8), nn.Tanh(), nn.Linear(8, 4)))
    specimen, classes = opened(net), torch.tensor([1, 3, 0])
    specimen.layers  # noqa: B018  # traced in single precision
    net.double()
    x = noise(3).double() / 4
    assert float(made_by(net, x, classes, specimen).gaps.max()) < 1e-9


def test_equals_captum():
    captum = pytest.importorskip("captum.attr")
    net, x, classes = flattened(12, 12), noise(3), torch.tensor([1, 3, 0])
    pixels = PixelTargets(opened(net), x, Specimen.logits, lambda scores: [scores.gather(1, classes[:, None])[:, 0]])
    for points in POINTS:
        wanted = captum.IntegratedGradients(net).attribute(x, target=classes, n_steps=points, method="gausslegendre").sum(1)
        (given,) = integrated_gradients(pixels, points)
        assert torch.allclose(given, wanted.float(), atol=1e-5 * float(wanted.abs().max()))


class Step(nn.Module):
    """A score that rises within a thousandth of the way from grey; images of a single colour."""

    def __init__(self, steep: float) -> None:
        super().__init__()
        self.steep, self.head = steep, nn.Linear(1, 4, bias=False)
        nn.init.ones_(self.head.weight)

    def forward(self, x):
        return self.head(torch.tanh(self.steep * x.mean((1, 2, 3), keepdim=True).flatten(1)))


def test_where_few_points_do_not_do_more_are_taken_and_what_is_missing_is_reported():
    x = torch.ones(2, 3, 12, 12) * torch.tensor([0.001, 1.0])[:, None, None, None]
    classes = torch.tensor([0, 0])
    soft, hard = (made_by(Step(steep), x, classes) for steep in (40.0, 100_000.0))
    pixels = PixelTargets(opened(Step(40.0)), x, Specimen.logits, lambda scores: [scores[:, 0]])
    few, many = (integrated_gradients(pixels, points)[0] for points in POINTS)
    wide = (few.sum((1, 2)) - torch.tanh(40 * x[:, 0, 0, 0])).abs() > 0.05 * torch.tanh(40 * x[:, 0, 0, 0])
    assert soft.gaps[0].max() < 0.05
    assert torch.allclose(soft.maps[0]["input"], torch.where(wide[:, None, None], many, few))
    assert float(hard.gaps[0, 1]) > 0.05
