"""How complete maps are: known sums, and differences that are rounding."""

import pytest
import torch

from map_networks import flattened, noise, opened
from microtome.instruments.attribution.grey_baseline import completeness_gaps, fade_images
from microtome.instruments.attribution.pixel_targets import PixelTargets
from microtome.specimen import Specimen


def test_a_gap_is_what_the_sum_misses_of_the_difference():
    net, x = flattened(12, 12), noise(3)
    pixels = PixelTargets(opened(net), x, Specimen.logits, lambda scores: [scores[:, 0], scores[:, 1] * 0])
    difference = (net(x) - net(0 * x))[:, 0].detach()
    heat = (difference / 144)[:, None, None].expand(3, 12, 12)
    gaps = completeness_gaps(pixels, [heat * torch.tensor([1.0, 0.5, -1.0])[:, None, None], heat])
    assert gaps[0].tolist() == pytest.approx([0.0, 0.5, 2.0], abs=1e-4)
    assert bool(gaps[1].isnan().all())


def test_images_fade_to_grey():
    x = noise(2)
    assert torch.equal(fade_images(x, [1.0, 0.25, 0.0]), torch.stack([x, x / 4, 0 * x]))
