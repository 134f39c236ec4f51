"""Ablation-CAM against a plain loop over whole passes of the network."""

import pytest
import torch

import microtome as mt
from map_networks import flattened, noise, opened
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.specimen import replace_values


def loop(specimen, name, x, classes):
    """One whole pass for each unit of the layer, its map set to zero."""
    layer, kept = specimen.layer(name), {}

    def keep(_, value):
        kept["value"] = value.clone()
        return value

    with torch.no_grad(), replace_values(specimen, name, keep):
        clean = specimen.logits(x)
    images = torch.arange(len(x))
    maps = layer.maps(kept["value"])
    heat = torch.zeros_like(maps[:, 0])
    for unit in range(maps.shape[1]):

        def without(_, value, unit=unit):
            changed = value.clone()
            layer.maps(changed)[:, unit] = 0.0  # a view of the layer's own tensor, in any layout
            return changed

        with torch.no_grad(), replace_values(specimen, name, without):
            drop = clean[images, classes] - specimen.logits(x)[images, classes]
        heat += drop[:, None, None] * maps[:, unit]
    return heat


@pytest.mark.parametrize("layer", ["0", "1", "3"])
def test_equals_whole_passes_on_a_small_network(layer):
    specimen, x, classes = opened(flattened(9, 13), 9, 13), noise(3, 9, 13), torch.tensor([0, 2, 3])
    _, (maps,) = attribution_maps(specimen, [layer], x, lambda _: [classes], map_kind("ablationcam"))
    wanted = loop(specimen, layer, x, classes)
    assert float(wanted.abs().max()) > 1e-3
    assert torch.allclose(maps[layer], wanted, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("name", "layer", "options"),
    [
        ("timm:resnet18", "layer4.0.conv1", {"zero_init_last": False}),  # the shortcut runs around it
        ("timm:swin_tiny_patch4_window7_224", "layers.3.blocks.0", {"img_size": 64, "window_size": 2, "embed_dim": 12}),
        ("timm:vit_tiny_patch16_224", "blocks.1.norm1", {"depth": 2, "img_size": 64, "embed_dim": 24, "reg_tokens": 2}),
    ],
)
def test_equals_whole_passes_in_every_layout(name, layer, options):
    specimen = mt.open(name, weights=None, num_classes=4, recipe={"size": 64}, **options)
    x, classes = noise(2, 64, 64), torch.tensor([1, 3])
    _, (maps,) = attribution_maps(specimen, [layer], x, lambda _: [classes], map_kind("ablationcam"))
    wanted = loop(specimen, layer, x, classes)
    assert float(wanted.abs().max()) > 0
    assert torch.allclose(maps[layer], wanted, atol=1e-4 * float(wanted.abs().max()))
