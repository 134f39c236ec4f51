"""Gaussian upsampling: constants stay, mass stays, centres are true, and a constant ripples as derived."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from microtome.numerics.maps.gaussians import gaussian_weights, upsample_gaussian
from microtome.numerics.receptive.geometry import Axis, Where, even_tiling, interpolate


def where_of(rows: tuple[float, float, int], cols: tuple[float, float, int]) -> Where:
    return Where(Axis(*rows), Axis(*cols))


@given(st.integers(1, 7), st.integers(1, 7), st.floats(-40, 60), st.floats(1, 40), st.floats(0.3, 300), st.floats(0.3, 300))
@settings(max_examples=60, deadline=None)
def test_a_constant_map_stays_constant_and_the_mass_stays(rows, cols, start, jump, down, across):
    where, size = where_of((start, jump, rows), (start / 2, jump, cols)), (30, 41)
    flat = torch.full((1, rows, cols), 2.5)
    even = upsample_gaussian(flat, where, size, (down, across))
    assert torch.allclose(even, torch.full_like(even, 2.5), rtol=1e-12)
    signed = torch.randn(2, rows, cols, generator=torch.Generator().manual_seed(0)).double()
    spread = upsample_gaussian(signed, where, size, (down, across), "mass")
    assert torch.allclose(spread.sum((1, 2)), signed.sum((1, 2)), atol=1e-9)


def test_the_centroid_is_the_true_centre_and_not_that_of_an_even_tiling():
    """Position 3 of a ResNet of stride 32 is centred on pixel 96; plain bilinear upsampling draws it around 111.5."""
    one = torch.zeros(1, 7, 7)
    one[0, 3, 3] = 1.0
    where = where_of((0.0, 32.0, 7), (0.0, 32.0, 7))
    pixels = torch.arange(224, dtype=torch.float64)

    def centroid(heat):
        return float((heat[0].sum(1) * pixels).sum() / heat.sum()), float((heat[0].sum(0) * pixels).sum() / heat.sum())

    assert centroid(upsample_gaussian(one, where, (224, 224), (16.0, 16.0), "mass")) == pytest.approx((96.0, 96.0), abs=1e-3)
    assert centroid(upsample_gaussian(one, where, (224, 224), (16.0, 16.0))) == pytest.approx((96.0, 96.0), abs=1e-2)
    assert centroid(interpolate(one, where, (224, 224), (224, 224))) == pytest.approx((96.0, 96.0), abs=1e-9)
    plain = torch.nn.functional.interpolate(one[:, None], size=(224, 224), mode="bilinear", align_corners=False)[:, 0].double()
    assert centroid(plain) == pytest.approx((111.5, 111.5), abs=1e-6)
    tiled = interpolate(one, even_tiling((224, 224), (7, 7)), (224, 224), (224, 224))
    assert torch.allclose(tiled, plain, atol=1e-6)


def test_equals_the_sum_over_positions_in_loops():
    heat = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    where, sigma = where_of((1.0, 4.0, 2), (0.5, 3.0, 3)), (2.0, 1.5)
    wanted = np.zeros((8, 9))
    for row in range(8):
        for col in range(9):
            down = [np.exp(-((row - centre) ** 2) / (2 * sigma[0] ** 2)) for centre in where.row.centres]
            across = [np.exp(-((col - centre) ** 2) / (2 * sigma[1] ** 2)) for centre in where.col.centres]
            weights = np.array([[first * second for second in across] for first in down])
            wanted[row, col] = (weights * heat[0].numpy()).sum() / weights.sum()
    assert upsample_gaussian(heat, where, (8, 9), sigma)[0].numpy() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("fraction", "ripple"), [(0.25, 1.165), (0.5, 0.0288), (0.625, 1.8e-3)])
def test_a_constant_ripples_as_derived(fraction, ripple):
    """Without normalisation, far from the border: 4 · exp(-2π²σ² / stride²) of the mean."""
    assert 4 * np.exp(-2 * np.pi**2 * fraction**2) == pytest.approx(ripple, rel=2e-2)
    stride, axis = 64.0, Axis(-640.0, 64.0, 21)
    pixels = np.arange(0.0, 64.0)
    kernels = np.exp(-(((pixels[:, None] - axis.centres) / (fraction * stride)) ** 2) / 2).sum(1)
    assert (kernels.max() - kernels.min()) / kernels.mean() == pytest.approx(ripple, rel=2e-2)
    assert gaussian_weights(axis, pixels, fraction * stride, "partition").sum(1).numpy() == pytest.approx(1.0)
