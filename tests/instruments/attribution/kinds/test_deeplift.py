"""DeepLift in parts of a batch, and on networks that use one rectifier many times."""

import torch
from torch import nn

from map_networks import Twice, noise, opened, pooled, seeded
from microtome.instruments.attribution import map_kind, target_maps
from microtome.specimen import Specimen

KIND = map_kind("deeplift")


def made_by(net, x, memory=None):
    classes = torch.arange(len(x)) % 3
    ask = lambda scores: [scores.gather(1, classes[:, None])[:, 0], scores[:, 1]]  # noqa: E731
    return target_maps(opened(net), ["input"], x, Specimen.logits, ask, KIND, memory=memory)


def test_of_a_linear_network_it_is_weight_times_image():
    net, x = seeded(nn.Sequential(nn.Flatten(), nn.Linear(432, 4))), noise(3)
    weights = net[1].weight.detach()[[0, 1, 2]].unflatten(1, (3, 12, 12))
    assert torch.allclose(made_by(net, x).maps[0]["input"], (weights * x).sum(1), atol=1e-5)


def test_a_rectifier_that_is_called_twice_is_complete():
    made = made_by(seeded(Twice()), noise(3))
    assert float(made.gaps.max()) < 1e-4


def test_little_memory_makes_no_difference():
    whole, parts = (made_by(pooled(), noise(5), memory) for memory in (None, 1.0))
    for own, other in zip(whole.maps, parts.maps, strict=True):
        assert torch.allclose(own["input"], other["input"], atol=1e-6)
