"""Maps of a batch: side effects of no kind, layouts, any target, and modules that are called twice."""

import numpy as np
import pytest
import torch
from torch import nn

from map_networks import Twice, flattened, noise, opened, pooled, seeded, timm_specimen
from microtome.instruments.attribution import INPUT, attribution_maps, map_kind, target_maps, visible_layers
from microtome.map_kinds import layer_kind_names, map_kind_names, pixel_kind_names
from microtome.specimen import Specimen


def state_of(net: nn.Module) -> dict[str, object]:
    """All that a map must leave as it was."""
    return {
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()],
        "modules": [id(m) for m in net.modules()],
        "training": [m.training for m in net.modules()],
        "grads": [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        "flags": [p.requires_grad for p in net.parameters()],
        "values": [p.detach().tolist() for p in (*net.parameters(), *net.buffers())],
        "random": (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()),  # beartype draws from Python's own
        "grad mode": torch.is_grad_enabled(),
    }


def mapped(kind: str, layer: str) -> str:
    """The name under which the map of a kind comes back where `layer` was asked for."""
    return INPUT if kind in pixel_kind_names() else layer


class Broken(Exception):
    """Raised by a target."""


@pytest.mark.parametrize("kind", map_kind_names())
def test_nothing_is_left_behind_after_success_or_an_exception(kind):
    net = nn.Sequential(*pooled(), nn.Identity())
    net.insert(1, nn.BatchNorm2d(5))
    net = seeded(net)
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    net[0].bias.requires_grad_(False)
    specimen, x = opened(net), noise()
    specimen.layers  # noqa: B018  # traced before
    before, pixels = state_of(net), x.clone()
    _, (maps,) = attribution_maps(specimen, ["4"], x, lambda scores: [scores.argmax(1)], map_kind(kind))
    heat = maps[mapped(kind, "4")]
    assert bool(heat.any()) and not heat.requires_grad
    assert state_of(net) == before
    assert torch.equal(x, pixels)
    asked = []

    def broken(output):
        asked.append(output)
        if len(asked) > 1 or map_kind(kind).needs != "passes":
            raise Broken
        return [output[:, 0]]

    with pytest.raises(Broken):
        target_maps(specimen, ["4"], x, Specimen.logits, broken, map_kind(kind))
    assert state_of(net) == before


@pytest.mark.parametrize("kind", map_kind_names())
@pytest.mark.parametrize("rows", [12, 10])
def test_a_batch_of_any_size_gives_each_image_its_own_map(kind, rows):
    specimen, x = opened(pooled(), rows, 14), noise(5, rows, 14)
    targets = torch.arange(5) % 4

    def maps_of(part):
        return attribution_maps(specimen, ["3"], x[part], lambda _: [targets[part]], map_kind(kind))[1][0][mapped(kind, "3")]

    whole = maps_of(slice(0, 5))
    assert whole.shape == ((5, rows, 14) if kind in pixel_kind_names() else (5, rows // 2, 7))
    single = torch.cat([maps_of(slice(number, number + 1)) for number in range(5)])
    assert torch.allclose(whole, single, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("kind", map_kind_names())
def test_several_layers_and_targets_come_in_their_own_order(kind):
    """Whatever order layers are named in, each has its own map, and the second target is not the first."""
    specimen, x = opened(pooled()), noise()
    names = [INPUT] if kind in pixel_kind_names() else ["3"] if kind == "cam" else ["3", "1"]
    classes = [torch.tensor([1, 1]), torch.tensor([2, 2])]
    _, both = attribution_maps(specimen, names, x, lambda _: classes, map_kind(kind))
    for place, wanted in enumerate(classes):
        for name in names:
            _, (alone,) = attribution_maps(specimen, [name], x, lambda _, wanted=wanted: [wanted], map_kind(kind))
            assert torch.allclose(both[place][name], alone[name], atol=1e-5 * float(alone[name].abs().max()))
    same = torch.allclose(both[0][names[0]], both[1][names[0]])
    assert same == (not map_kind(kind).depends_on_class)


@pytest.mark.parametrize("kind", [name for name in map_kind_names() if name != "cam"])
def test_a_target_may_be_any_function_of_the_output(kind):
    """A network of maps: the sum of one output over a region; here that of a linear map, so the evidence is the value itself."""
    net = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    specimen, x = opened(net), noise()

    def ask(output):
        return [output[:, 1, :, :6].sum((1, 2))]

    made = target_maps(specimen, ["1"], x, lambda network, images: network.net(images), ask, map_kind(kind))
    heat = made.maps[0][mapped(kind, "1")]
    assert heat.shape == (2, 12, 12) and bool(heat.any())
    if kind in ("hirescam", "gaussian"):
        assert not bool(heat[:, :, 6:].any())
        weights = net[2].weight.detach()[1, :, 0, 0]
        wanted = torch.einsum("iurc,u->irc", net[:2](x).detach(), weights)[:, :, :6]
        assert torch.allclose(heat[:, :, :6], wanted, atol=1e-5)


@pytest.mark.parametrize("kind", layer_kind_names())
def test_each_call_of_a_module_is_a_layer_of_its_own(kind):
    """`act#0` and `act#1` are the calls in order; the plain name stands for both."""
    net = seeded(Twice())
    specimen, x = opened(net), noise()
    made = map_kind(kind)
    shown = visible_layers(specimen, ["act"], x, kind=made)
    assert shown.names == (("act#1",) if kind == "cam" else ("act#0", "act#1"))
    _, (maps,) = attribution_maps(specimen, shown.names, x, lambda _: [torch.tensor([0, 2])], made)
    first = net.act(net.first(x))
    if kind == "hirescam":
        rest = lambda value: net.head(net.act(net.second(value)).mean((2, 3)))  # noqa: E731
        leaf = first.detach().requires_grad_()
        (slope,) = torch.autograd.grad(rest(leaf)[[0, 1], [0, 2]].sum(), leaf)
        assert torch.allclose(maps["act#0"], (leaf * slope).sum(1).detach(), atol=1e-6)
    assert len(shown.names) == 1 or not torch.allclose(maps["act#0"], maps["act#1"])


def test_maps_stay_raw():
    """No stretching: twice the score, twice the map; all-negative evidence stays negative."""
    net, x = flattened(12, 12, bias=False), noise()
    doubled = flattened(12, 12, bias=False)
    with torch.no_grad():
        doubled[5].weight *= -2
    for kind in ("gradcam", "hirescam", "xgradcam"):
        own, other = (
            attribution_maps(opened(one), ["3"], x, lambda _: [torch.tensor([0, 2])], map_kind(kind))[1][0]["3"]
            for one in (net, doubled)
        )
        assert torch.allclose(other, -2 * own, rtol=1e-4, atol=1e-5 * float(own.abs().max()))


@pytest.mark.parametrize("kind", [name for name in layer_kind_names() if name != "cam"])
@pytest.mark.parametrize(
    ("name", "layer", "grid", "options"),
    [
        ("vit_tiny_patch16_224", "blocks.1.norm1", (4, 6), {"depth": 2, "img_size": (64, 96), "embed_dim": 12}),
        (
            "vit_tiny_patch16_224",
            "blocks.1.norm1",
            (4, 6),
            {"depth": 2, "img_size": (64, 96), "embed_dim": 12, "reg_tokens": 3, "class_token": False, "global_pool": "avg"},
        ),
        ("swin_tiny_patch4_window7_224", "layers.1", (8, 12), {"img_size": (64, 96), "window_size": 2, "embed_dim": 12}),
    ],
)
def test_tokens_and_channels_last_on_images_that_are_not_square(kind, name, layer, grid, options):
    specimen = timm_specimen(name, (64, 96), num_classes=4, **options)
    x = noise(2, 64, 96)
    _, (maps,) = attribution_maps(specimen, [layer], x, lambda _: [torch.tensor([1, 3])], map_kind(kind))
    assert maps[layer].shape == (2, *grid)
    assert bool(maps[layer].isfinite().all()) and bool(maps[layer].flatten(1).any(1).all())


@pytest.mark.parametrize("kind", pixel_kind_names())
def test_maps_of_pixels_whatever_layer_is_named(kind):
    """The layers' names are of no account, and what is read from the network may be any layout of values."""
    specimen = timm_specimen(
        "vit_tiny_patch16_224", (64, 96), num_classes=4, depth=2, img_size=(64, 96), embed_dim=12, reg_tokens=3
    )
    x = noise(2, 64, 96)
    shown = visible_layers(specimen, ["blocks.0"], x, kind=map_kind(kind))
    assert shown.names == (INPUT,) and shown.where[INPUT].counts == (64, 96)
    _, (maps,) = attribution_maps(specimen, shown.names, x, lambda _: [torch.tensor([1, 3])], map_kind(kind))
    assert list(maps) == [INPUT] and maps[INPUT].shape == (2, 64, 96)
    assert bool(maps[INPUT].isfinite().all()) and bool(maps[INPUT].flatten(1).any(1).all())
