"""Running the part after a layer again: the same numbers as the whole network, in any batches, and the whole network where it must."""

import pytest
import torch
from torch import nn

from map_networks import noise, opened, pooled, seeded, timm_specimen
from microtome.instruments.attribution.reruns import Reruns, to_layout
from microtome.specimen import Specimen


def ask(output):
    return [output[:, 0], output[:, 1]]


class Shortcut(nn.Module):
    """A branch beside the layer `conv`, added in place after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.act, self.head = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Linear(4, 3)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.act(self.norm(self.conv(x)))
        y += x
        return self.head(self.act(y).mean((2, 3)))


class Moody(nn.Module):
    """The operations depend on the values, so that no record of one pass holds for another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        pooled = x.mean((2, 3))
        return self.head(pooled * 2 if bool((x[:, 0] == 0).all()) else pooled)


def scaled(maps, variants):
    return torch.stack([maps * (0.5 + variant) for variant in variants])


@pytest.mark.parametrize("memory", [None, 1.0])
@pytest.mark.parametrize(("make", "layer"), [(pooled, "1"), (pooled, "3"), (Shortcut, "conv"), (Shortcut, "stem")])
def test_only_what_comes_after_the_layer_runs_and_gives_the_same(make, layer, memory):
    net = seeded(make())
    specimen, x = opened(net), noise(3)
    reruns = Reruns(specimen, layer, x, Specimen.logits, ask, memory)
    assert reruns.why == "" and reruns.later is not None
    assert reruns.many == (1 if memory else 64 // 3)
    calls = []
    handle = net.get_submodule("0" if make is pooled else "stem").register_forward_hook(lambda *_: calls.append(1))
    found = reruns.with_values(5, scaled)
    handle.remove()
    assert calls == []
    assert found.shape == (2, 5, 3)
    reruns.later = None
    assert torch.allclose(found, reruns.with_values(5, scaled), rtol=1e-4, atol=1e-5)
    assert torch.allclose(reruns.clean, torch.stack(ask(specimen.run(x))), rtol=1e-4, atol=1e-5)
    assert float((found[:, 0] - found[:, 4]).abs().max()) > 1e-3


def test_a_network_that_cannot_be_written_down_runs_whole():
    specimen, x = opened(seeded(Moody())), noise(2)
    reruns = Reruns(specimen, "conv", x, Specimen.logits, ask)
    assert reruns.why != "" and reruns.later is None
    found = reruns.with_values(2, lambda maps, variants: torch.stack([maps * (variant + 0.0) for variant in variants]))
    assert torch.allclose(found[:, 0], torch.stack(ask(specimen.net.head.bias.detach().expand(2, 3))), atol=1e-6)
    assert torch.allclose(found[:, 1], reruns.clean, atol=1e-6)


def test_changed_images_run_through_the_whole_network():
    specimen, x = opened(pooled()), noise(2)
    reruns = Reruns(specimen, "3", x, Specimen.logits, ask)
    found = reruns.with_images(3, lambda images, variants: torch.stack([images * variant for variant in variants]))
    wanted = torch.stack([torch.stack(ask(specimen.run(x * factor))) for factor in range(3)], 1)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_maps_go_back_into_the_layers_own_layout():
    specimen = timm_specimen("vit_tiny_patch16_224", (32, 48), num_classes=3, depth=1, img_size=(32, 48), embed_dim=12)
    layer = specimen.layer("blocks.0")
    value = torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_layout(layer, layer.maps(value), value), value)
    halved = to_layout(layer, layer.maps(value) / 2, value)
    assert torch.equal(halved[:, 0], value[:, 0]) and torch.equal(halved[:, 1:], value[:, 1:] / 2)
