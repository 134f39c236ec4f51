"""Layers with uneven strides as a table, by hand."""

import torch
from torch import nn

import microtome as mt
from microtome.analyses.dead_pixels.uneven_layers import uneven_layer_arrays

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def test_each_uneven_layer_has_the_kernel_that_would_be_even() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(4, 4, 2, 2), nn.Flatten(), nn.Linear(64, 2)]
    found = uneven_layer_arrays(mt.open(nn.Sequential(*layers), recipe=RECIPE))
    assert found["uneven"].values.tolist() == ["0", "2"]  # a kernel of 2 at stride 2 is even
    assert found["kernel"].values.tolist() == ["kernel 3 x 3, stride 2 x 2", "pool 3 x 3, stride 2 x 2"]
    assert found["reads"].values.tolist() == ["1 to 2"] * 2
    assert found["remedy"].values.tolist() == ["4 x 4", "4 x 4 (changes the function)"]
    assert uneven_layer_arrays(mt.open(nn.Sequential(nn.Conv2d(3, 4, 2, 2)), recipe=RECIPE)) == {}
