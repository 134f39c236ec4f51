"""The mini VGG: its plan by hand, and a head that averages over positions."""

from itertools import pairwise

import torch
from torch import nn

from microtome import networks


def test_convolutions_and_places_by_hand() -> None:
    net, x, seen = networks.build("mini_vgg").eval(), torch.zeros(1, 3, 64, 64), []
    for part in net.features:
        x = part(x)
        if isinstance(part, nn.Conv2d):
            seen.append(tuple(x.shape[1:]))
    assert seen == [(12, 64, 64), (24, 32, 32), (32, 16, 16), (32, 16, 16), (56, 8, 8), (56, 8, 8), (56, 8, 8)]


def test_parameters_by_hand() -> None:
    """Kernels and biases of seven convolutions, a scale and a shift for each unit, and the head."""
    units = (3, 12, 24, 32, 32, 56, 56, 56)
    convs = sum(9 * one * two + two for one, two in pairwise(units))
    assert sum(p.numel() for p in networks.build("mini_vgg").parameters()) == convs + 2 * sum(units[1:]) + 56 * 10 + 10


def test_the_head_is_linear_in_the_mean_over_positions() -> None:
    net = networks.build("mini_vgg", num_classes=4, cfg=[6, "M", 8]).eval()
    x = torch.randn(2, 3, 16, 16)
    maps = net.features(x)
    assert torch.allclose(net(x), maps.mean((2, 3)) @ net.head.fc.weight.T + net.head.fc.bias, atol=1e-6)
