"""Patches tile the image, and the network runs once for all targets of an image."""

import torch

from map_networks import flattened, noise, opened
from microtome.instruments.attribution import attribution_maps, map_kind, patch_effects
from microtome.instruments.attribution.patch_effects import patch_numbers


def test_patches_tile_the_image_as_evenly_as_pixels_allow():
    numbers = patch_numbers(224, 224)
    assert numbers.shape == (1, 1, 224, 224)
    assert numbers.flatten().bincount().tolist() == [32 * 32] * 49
    sizes = patch_numbers(10, 16).flatten().bincount()
    assert len(sizes) == 49 and int(sizes.sum()) == 160 and int(sizes.min()) >= 2 and int(sizes.max()) <= 6
    assert patch_numbers(3, 5)[0, 0].flatten().tolist() == list(range(15))
    assert int(patch_numbers(9, 14)[0, 0, 0, -1]) == 6


def test_further_targets_cost_no_passes(monkeypatch):
    monkeypatch.setattr(patch_effects, "SAMPLES", 70)
    net, x = flattened(12, 12), noise(1)
    specimen = opened(net)
    specimen.layers  # noqa: B018  # traced before
    seen = []
    handle = net.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    counts = []
    for classes in ([0], [0, 1, 2]):
        seen.clear()
        attribution_maps(specimen, ["input"], x, lambda _, own=classes: [torch.tensor([c]) for c in own], map_kind("lime"))
        counts.append([count for count in seen if count > 1])
    handle.remove()
    assert counts == [[64, 6]] * 2
