"""How many images fit: by hand from the bytes of one image."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.batch_size import SPARE, fitting_batch, image_bytes, parse_bytes
from microtome.errors import BadOption
from microtome.scan import Pace


def net() -> mt.Specimen:
    """One map of 64 x 32 x 32 floats: 256 KiB; its ReLU as much again."""
    layers = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 3))
    return mt.open(layers.eval(), recipe={"size": 32})


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * 2**30), ("512M", 512 * 2**20), ("1.5GB", 1.5 * 2**30), ("2GiB", 2**31), ("100", 100), (" 3k ", 3072)],
)
def test_amounts_of_memory(text: str, size: float) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "4X", "nan", "inf", "much"])
def test_what_is_no_amount_says_what_is(text: str) -> None:
    with pytest.raises(BadOption, match="write for instance 4G"):
        parse_bytes(text)


def test_one_image_holds_its_maps() -> None:
    specimen = net()
    one_map = 64 * 32 * 32 * 4
    assert 2 * one_map <= image_bytes(specimen, gradients=False) <= 2.2 * one_map
    assert image_bytes(specimen, gradients=True) >= 2.9 * one_map  # both maps are kept, and a gradient as large as one


def test_batches_are_halved_until_they_fit() -> None:
    specimen = net()
    each = SPARE * image_bytes(specimen, gradients=False)
    assert fitting_batch(specimen, 32, 1e12) == 32
    assert [fitting_batch(specimen, 32, each * count) for count in (32.5, 31, 9, 1.5, 0.1)] == [32, 16, 8, 1, 1]
    assert fitting_batch(specimen, 32, each * 16.5, gradients=True) < 16
    assert Pace(batch=32, memory=each * 9).fit_to(specimen).batch == 8


def test_gradients_do_not_stay_behind() -> None:
    specimen = net()
    wanted = [parameter.requires_grad for parameter in specimen.net.parameters()]
    image_bytes(specimen, gradients=True)
    assert [parameter.requires_grad for parameter in specimen.net.parameters()] == wanted
    assert all(parameter.grad is None for parameter in specimen.net.parameters())
    assert torch.is_grad_enabled()
