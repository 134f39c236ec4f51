"""How much blocks change their input: as `redundancy` measures it, and by hand."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.redundancy import Redundancy
from microtome.instruments.block_changes import block_changes, neighbour_weight_distances, position_rows


def test_as_redundancy_measures_the_same_images() -> None:
    net, images = mt.open("microtome:mini_deit"), mt.Images.scenes(24)
    found = Redundancy()(net, images, mt.Pace(device="cpu", batch=24), twins=2)
    x = net.recipe.normalise(torch.from_numpy(images.inputs(net.recipe, range(24))))
    changes = block_changes(net, list(net.blocks), [x])
    for name in ("influence", "angle", "cka", "weight_distance"):
        np.testing.assert_allclose(changes[name], found[name].values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_block_that_changes_nothing(tiny) -> None:
    net = mt.open(tiny(scales=(0.0, 1.0, 0.0)), recipe={"size": 32})
    changes = block_changes(net, list(net.blocks), [net.noise(8), net.noise(4)])
    assert changes["influence"][[0, 2]] == pytest.approx(0, abs=1e-9)
    assert changes["cka"][[0, 2]] == pytest.approx(1)
    assert changes["influence"][1] > 0.01
    assert np.isnan(neighbour_weight_distances(net, net.blocks)[0])
    assert position_rows(net, "blocks.0", torch.zeros(2, 8, 4, 4)).shape == (2, 16, 8)
