"""Widths of the Gaussians: those of a known receptive field, and what is taken where none can be fitted."""

import pytest
import torch
from torch import nn

import microtome as mt
from map_networks import noise, opened, seeded
from microtome.instruments.attribution import visible_layers
from microtome.instruments.attribution.gaussian_widths import gaussian_widths, with_gaussians


def averaging(depth: int) -> nn.Sequential:
    """Means over 3 x 3 pixels in a row: the field is the convolution of so many boxes, with a variance of 2/3 each."""
    parts: list[nn.Module] = [nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False) for _ in range(depth)]
    net = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    with torch.no_grad():
        for part in parts:
            part.weight.fill_(1 / 9)
        net[-1].weight.fill_(1.0)
    return net


@pytest.mark.parametrize("depth", [6, 12])
def test_the_width_is_that_of_the_field(depth):
    specimen = opened(averaging(depth), 41, 41)
    (width,) = gaussian_widths(specimen, [str(depth - 1)], noise(2, 41, 41)).values()
    assert width.sigma == pytest.approx(((depth * 2 / 3) ** 0.5,) * 2, rel=0.05)
    assert width.reason == "the effective receptive field"


def test_multiples_count_and_no_gaussian_is_narrower_than_half_the_distance_of_two_positions():
    specimen, x = opened(averaging(6), 41, 41), noise(2, 41, 41)
    shown = visible_layers(specimen, ["5"], x)
    one, texts = with_gaussians(specimen, shown, x, 1.0)
    double, _ = with_gaussians(specimen, shown, x, 2.0)
    assert double.sigma["5"] == pytest.approx(tuple(2 * part for part in one.sigma["5"]))
    assert texts["5"].startswith("positions are drawn as Gaussians of σ 2.0") and "(1 x the effective" in texts["5"]
    narrow, texts = with_gaussians(specimen, shown, x, 0.05)
    assert narrow.sigma["5"] == (0.5, 0.5)
    assert texts["5"].endswith("not narrower than half the distance of two positions).")
    assert one.names == shown.names and one.where == shown.where


def test_a_layer_whose_mean_over_units_is_constant_is_measured_by_its_positive_part():
    specimen = mt.open(
        "timm:vit_tiny_patch16_224", weights=None, num_classes=3, depth=2, img_size=64, embed_dim=12, recipe={"size": 64}
    )
    (width,) = gaussian_widths(specimen, ["blocks.1.norm1"], noise(2, 64, 64)).values()
    assert all(2.0 < part < 256.0 for part in width.sigma)


def test_a_field_without_a_gradient_is_as_wide_as_half_a_position():
    net = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    specimen, x = opened(net, 16, 16), noise(1, 16, 16)
    shown = visible_layers(specimen, ["1"], x)
    with torch.no_grad():
        net[0].bias.fill_(-100.0)  # every rectifier is closed
    wide, texts = with_gaussians(specimen, shown, x, 1.0)
    assert wide.sigma["1"] == (2.0, 2.0)
    assert "no gradient reaches the pixels" in texts["1"]
