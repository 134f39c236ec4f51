"""Gaussians of learned biases: a planted hill is found, flat and missing biases are not; the untrained twin has its own columns."""

import numpy as np
import torch

import microtome as mt
from microtome._torchvision import timm
from microtome.analyses.position.biases import bias_arrays, twin_bias_arrays


def swin(plant: bool) -> mt.Specimen:
    """A small Swin transformer; with a hill of height 2 and σ 1.5 planted at no offset in each head of its first block."""
    net = timm().create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=8, depths=(1, 1, 1, 1), num_classes=3)
    table = net.layers[0].blocks[0].attn.relative_position_bias_table
    row, col = np.mgrid[-7:8, -7:8]
    with torch.no_grad():
        table.zero_()
        if plant:
            hill = torch.from_numpy(2 * np.exp(-(row**2 + col**2) / (2 * 1.5**2))).float()
            table.copy_(hill.reshape(-1, 1).expand_as(table))
    return mt.open(net, recipe={"size": 64})


def test_a_planted_hill_is_found_and_a_flat_bias_is_not() -> None:
    found = bias_arrays(swin(plant=True))
    first = {name: float(found[name].values[0]) for name in ("bias_r2", "bias_sigma", "bias_height")}
    assert first["bias_r2"] > 0.999 and abs(first["bias_sigma"] - 1.5) < 0.01 and abs(first["bias_height"] - 2) < 0.01
    assert found["bias"].values[0].argmax() == 7 * 15 + 7  # no offset, in the middle
    flat = bias_arrays(swin(plant=False))
    assert np.isnan(flat["bias_r2"].values[0]) and np.isnan(flat["bias_r2_by_head"].values[0]).all()


def test_twins_have_their_own_columns_and_networks_without_biases_none() -> None:
    twin = twin_bias_arrays(swin(plant=True))
    assert sorted(twin) == ["twin_bias_r2", "twin_bias_r2_by_head"] and twin["twin_bias_r2"].values[0] > 0.999
    vgg = mt.open("microtome:mini_vgg", weights=None)
    assert bias_arrays(vgg) == {} and twin_bias_arrays(vgg) == {}
