"""The input gradient in closed form, as captum gives it, and refused where no gradient reaches the pixels."""

import pytest
import torch
from torch import nn

from map_networks import flattened, noise, opened, seeded
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import attribution_maps, map_kind

KIND = map_kind("inputgradient")


class Inplace(nn.Module):
    """Overwrites its input before anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 12 * 12, 4)

    def forward(self, x):
        x.mul_(2.0)
        return self.head(x.flatten(1))


class Cut(nn.Module):
    """Cuts the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.conv(x).detach().mean((2, 3)))


def gradient_map(net, x, classes):
    return attribution_maps(opened(net), ["input"], x, lambda _: [classes], KIND)[1][0]["input"]


def test_of_a_linear_network_it_is_the_size_of_the_weights():
    net, x, classes = seeded(Inplace()), noise(), torch.tensor([1, 3])
    before = x.clone()
    weights = net.head.weight.detach()[classes].unflatten(1, (3, 12, 12))
    assert torch.allclose(gradient_map(net, x, classes), 2 * weights.abs().amax(1))
    assert torch.equal(x, before)


def test_equals_captum():
    captum = pytest.importorskip("captum.attr")
    net, x, classes = flattened(12, 12), noise(3), torch.tensor([1, 3, 0])
    wanted = captum.Saliency(net).attribute(x.clone().requires_grad_(), target=classes, abs=True).amax(1)
    assert torch.allclose(gradient_map(net, x, classes), wanted, atol=1e-6 * float(wanted.max()))


def test_a_cut_gradient_is_refused_with_the_module():
    with pytest.raises(Unmeasurable, match="no gradient by the image: .*detach"):
        gradient_map(seeded(Cut()), noise(), torch.tensor([1, 3]))
