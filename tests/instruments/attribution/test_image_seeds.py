"""Noise that follows from the image: the same in any batch and layout, another for another image or draw."""

import torch

from map_networks import noise
from microtome.instruments.attribution.image_seeds import image_noise, image_seed


def test_noise_is_each_images_own_and_no_global_state_is_touched():
    x, before = noise(3), torch.get_rng_state()
    drawn = image_noise(x, 0)
    assert torch.equal(drawn[1:2], image_noise(x[1:2], 0))
    assert torch.equal(drawn, image_noise(x.contiguous(memory_format=torch.channels_last), 0))
    assert not torch.equal(drawn, image_noise(x, 1))
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert len({image_seed(image) for image in x}) == 3


def test_it_is_standard_normal():
    drawn = image_noise(noise(4, 64, 64), 7).double()
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02
