"""What covers a place: mid-grey as the recipe writes it, the image's own mean, or a blur of it."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.instruments.fills import fill_images

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)


@pytest.fixture(scope="module")
def specimen() -> mt.Specimen:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return mt.open(net.eval(), recipe={"size": 16, "mean": MEAN, "std": STD})


def test_grey_is_128_of_255_normalised(specimen: mt.Specimen) -> None:
    found = fill_images(specimen, torch.zeros(2, 3, 4, 5), "grey", 9)
    assert found.shape == (2, 3, 4, 5)
    for channel in range(3):
        assert float(found[1, channel].min()) == float(found[1, channel].max())
        assert float(found[1, channel, 0, 0]) == pytest.approx((128 / 255 - MEAN[channel]) / STD[channel], abs=1e-6)


def test_mean_is_each_images_own_and_a_blur_keeps_flat_images(specimen: mt.Specimen) -> None:
    x = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    mean = fill_images(specimen, x, "mean", 9)
    assert torch.allclose(mean[1, 2], torch.full((12, 12), float(x[1, 2].mean())))
    flat = torch.full((1, 3, 12, 12), 0.7)
    assert torch.allclose(fill_images(specimen, flat, "blur", 9), flat, atol=1e-5)
    assert fill_images(specimen, x, "blur", 9).std() < x.std() / 2 < x.std()
    assert fill_images(specimen, x, "blur", 3).std() > fill_images(specimen, x, "blur", 9).std()
