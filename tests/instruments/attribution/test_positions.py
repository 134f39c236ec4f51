"""Where positions lie: measured for a strided network, and their distance to an even tiling."""

import pytest
import torch

import microtome as mt
from microtome.instruments.attribution import cell_positions, offset_px
from microtome.numerics.receptive.geometry import Axis, Where


def test_positions_of_a_strided_network_are_followed():
    specimen = mt.open("timm:resnet18", weights=None, num_classes=5, recipe={"size": 96})
    where = cell_positions(specimen, ["layer4", "layer1"], torch.randn(2, 3, 96, 96))
    assert where["layer4"].row.centres.tolist() == [0.0, 32.0, 64.0]
    assert where["layer1"].col.jump == 4.0


def test_an_offset_is_the_mean_distance_to_an_even_tiling():
    where = Where(Axis(0.0, 32.0, 7), Axis(15.5, 32.0, 7))  # rows as in a ResNet, columns even
    assert offset_px(where, (224, 224)) == pytest.approx(15.5)
