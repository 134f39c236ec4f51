"""The methods that are compared: baselines by hand, kinds at the layer that is asked for, and reasons for those that do not apply."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from map_networks import opened, pooled
from microtome.errors import Unmeasurable
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.instruments.faithfulness.methods import BASELINES, MapRequest, map_methods, random_map
from microtome.numerics.maps.heat import centre_prior
from microtome.numerics.maps.strata import edge_strength


def request(count: int = 3, size: int = 12) -> MapRequest:
    x = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    classes = torch.zeros(count, dtype=torch.int64), torch.ones(count, dtype=torch.int64)
    return MapRequest(x, np.arange(count), classes)


def test_every_method_maps_every_class_at_the_size_of_the_images() -> None:
    specimen, asked = opened(pooled()), request()
    methods, refused, layer = map_methods(specimen, ("gradcam", "gaussian", "inputgradient", "eigencam"), "3", asked.x)
    assert [method.name for method in methods] == ["gradcam", "gaussian", "inputgradient", "eigencam", *BASELINES]
    assert [method.name for method in methods if method.baseline] == list(BASELINES) and refused == {} and layer == "3"
    for method in methods:
        maps = method.draw(specimen, asked)
        assert [tuple(heat.shape) for heat in maps] == [(3, 12, 12)] * 2
        assert not any(heat.requires_grad for heat in maps)


def test_a_kind_is_drawn_where_its_positions_lie() -> None:
    specimen, asked = opened(pooled()), request()
    methods, _, _ = map_methods(specimen, ("gradcam",), "3", asked.x)
    (heat, _) = methods[0].draw(specimen, asked)
    _, (maps,) = attribution_maps(specimen, ["3"], asked.x, lambda _: [asked.classes[0]], map_kind("gradcam"))
    # stride 2, kernel 3, padding 1: position j lies on pixel 2 j
    assert torch.allclose(heat[:, ::2, ::2].float(), maps["3"], atol=1e-6)


def test_baselines_know_nothing_of_the_network() -> None:
    specimen, asked = opened(pooled()), request()
    random, centre, edges = (
        method.draw(specimen, asked) for method in map_methods(specimen, ("gradcam",), "3", asked.x)[0] if method.baseline
    )
    assert torch.equal(centre[0][0], centre_prior(12, 12)) and torch.equal(centre[0], centre[1])
    pixels = (asked.x.permute(0, 2, 3, 1) * 255).numpy()
    assert np.allclose(edges[0].numpy(), edge_strength(pixels), atol=1e-4)
    assert torch.equal(random[0], random[1]) and not torch.equal(random[0][0], random[0][1])


def test_a_random_map_belongs_to_its_image_whatever_stands_beside_it() -> None:
    asked = request()
    alone = MapRequest(asked.x[2:], np.array([2]), asked.classes)
    assert torch.equal(random_map(alone, None)[0], random_map(asked, None)[2])
    assert not torch.equal(random_map(alone, None), random_map(alone, None, seed=1))


def test_of_several_layers_the_coarsest_and_kinds_that_do_not_apply_are_named() -> None:
    specimen, asked = opened(pooled()), request()
    _, refused, layer = map_methods(specimen, ("gradcam", "cam"), "0,3", asked.x)
    assert layer == "3"  # as coarse as "1", and later
    first = map_methods(specimen, ("gradcam", "cam"), "0", asked.x)[1]
    assert list(first) == ["CAM"] and "mean over positions" in first["CAM"]
    assert refused == {}


def test_without_positions_only_the_pixels_can_be_mapped() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 4))
    specimen = mt.open(net, recipe={"size": 12, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": 1.0})
    asked = request()
    methods, refused, layer = map_methods(specimen, ("gradcam", "inputgradient"), "last", asked.x)
    assert [method.name for method in methods] == ["inputgradient", *BASELINES] and layer == "" and "Grad-CAM" in refused
    with pytest.raises(Unmeasurable, match="Grad-CAM"):
        map_methods(specimen, ("gradcam",), "last", asked.x)
