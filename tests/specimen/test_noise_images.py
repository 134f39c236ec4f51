"""Noise in the place of images: seeded, of the size asked for, where and as the network is."""

import copy

import pytest
import torch
from odd_network import Odd
from torch import nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Recipe, Specimen
from microtome.specimen.noise_images import noise_images, to_network


@pytest.fixture(scope="module")
def odd() -> Specimen:
    return open_specimen(Odd().eval(), recipe={"size": (12, 20), "crop": 1.0})


def test_noise_is_seeded_and_no_larger_than_asked_for(odd: Specimen) -> None:
    half = copy.deepcopy(odd.net).double()
    one, two, other = (noise_images(half, odd.recipe, 3, seed=seed) for seed in (1, 1, 2))
    assert (one.shape, one.dtype) == ((3, 3, 12, 20), torch.float64)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert noise_images(half, odd.recipe, 1, side=16).shape == (1, 3, 12, 16)
    assert float(noise_images(half, Recipe(size=(64, 64)), 8).std()) == pytest.approx(1, abs=0.02)


def test_inputs_go_where_the_first_floating_weight_is() -> None:
    x = torch.ones(1, 3, 4, 4)
    assert to_network(nn.Conv2d(3, 1, 1).half(), x).dtype == torch.float16
    assert to_network(nn.ReLU(), x) is x
