"""Differences of outputs, by hand."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.export.sample import TRIED, batch_parts, largest_difference, sample_batch


def test_difference_as_a_fraction_of_the_largest_output() -> None:
    net = nn.Identity()
    x = torch.tensor([[4.0, -2.0], [1.0, 0.0]])
    assert largest_difference(net, lambda part: part.clone(), batch_parts(x, None)) == 0
    assert largest_difference(net, lambda part: part + 0.4, [x]) == pytest.approx(0.1)
    assert largest_difference(net, lambda part: part[:, :1], [x]) == float("inf")


def test_parts_of_a_batch() -> None:
    x = torch.arange(4.0)[:, None]
    assert [len(part) for part in batch_parts(x, None)] == [1, 3] and [len(part) for part in batch_parts(x, 1)] == [1] * 4
    assert [len(part) for part in batch_parts(x[:1], None)] == [1]


def test_images_in_the_geometry_of_the_network() -> None:
    specimen = mt.open("microtome:mini_resnet")
    images = mt.Images.scenes(30)
    batch = sample_batch(specimen, images, np.arange(10, 30))
    wanted = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, list(range(10, 10 + TRIED)))))
    assert torch.equal(batch, wanted)
