"""Conditions: their list, and inputs that are the corrupted pixels, normalised, or the scaled input."""

import numpy as np
import torch

import microtome as mt
from microtome.analyses.robustness.conditions import Condition, inputs_under, list_conditions
from microtome.images.corruptions import corrupt
from microtome.images.corruptions.sweeps import SWEEPS, sweep_pixels


def test_every_corruption_by_severity_then_every_amount() -> None:
    found = list_conditions(["fog", "snow"], [1, 5], ["size"])
    assert [(each.name, each.amount) for each in found[:4]] == [("fog", 1), ("fog", 5), ("snow", 1), ("snow", 5)]
    assert [each.amount for each in found[4:]] == list(SWEEPS["size"][1]) and all(each.is_sweep for each in found[4:])


def test_inputs(net: mt.Specimen) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    x = net.recipe.normalise(torch.from_numpy(pixels))
    fog = inputs_under(Condition("fog", 3, False), net, pixels, x, seed=4)
    assert torch.equal(fog, net.recipe.normalise(torch.from_numpy(corrupt(pixels, "fog", 3, 4))))
    assert torch.equal(inputs_under(Condition("colour_scale", 4.0, True), net, pixels, x, 0), 4 * x)
    contrast = inputs_under(Condition("contrast", 2.0, True), net, pixels, x, 0)
    assert torch.equal(contrast, net.recipe.normalise(torch.from_numpy(sweep_pixels(pixels, "contrast", 2.0))))
    assert not torch.equal(
        contrast, inputs_under(Condition("contrast", 2, False), net, pixels, x, 0)
    )  # the corruption lessens it
