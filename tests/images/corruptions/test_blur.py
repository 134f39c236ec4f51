"""Blurs: kernels by hand, a loop over factors, displacements within their reach."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter, zoom

from microtome.images.corruptions.blur import (
    GLASS,
    MOTION,
    defocus_blur,
    disc_kernel,
    gaussian_blur,
    glass_blur,
    motion_blur,
    zoom_blur,
)

X = torch.rand(1, 3, 40, 52, generator=torch.Generator().manual_seed(0))


def draws(seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng(seed)]


def test_a_disc_is_round_soft_at_its_rim_and_sums_to_one() -> None:
    for radius, softness in ((3, 0.1), (6, 0.5), (10, 0.5)):
        kernel = disc_kernel(radius, softness)[0]
        reach = kernel.shape[0] // 2
        assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(kernel, kernel.T) and torch.allclose(kernel, kernel.flip(0), atol=1e-7)
        flat = kernel[reach, reach]
        assert kernel[reach, reach + radius - 2] == pytest.approx(flat.item(), rel=1e-4)
        if reach > radius + 2:
            assert kernel[reach, reach + radius + 2].item() == pytest.approx(0, abs=1e-6)


def test_defocus_is_the_mean_over_the_disc() -> None:
    kernel = disc_kernel(4, 0.5)[0].numpy()
    expected = correlate(X[0, 1].numpy(), kernel, mode="mirror")
    assert defocus_blur(X, 2, [])[0, 1].numpy() == pytest.approx(expected, abs=1e-5)


def test_gaussian_blur() -> None:
    expected = gaussian_filter(X[0, 0].numpy(), 3, mode="nearest")
    assert gaussian_blur(X, 3, [])[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_motion_blur_as_a_loop_over_shifts() -> None:
    radius, sigma = MOTION[0]
    angle = np.deg2rad(np.random.default_rng(0).uniform(-45, 45))
    image, width = X[0, 0].numpy(), 2 * radius + 1
    weights = np.exp(-(np.arange(width) ** 2) / 2 / sigma**2)
    expected = np.zeros_like(image)
    for step, weight in enumerate(weights / weights.sum()):
        rows = np.arange(40) + int(np.ceil(step * np.sin(angle) - 0.5))
        cols = np.arange(52) + int(np.ceil(step * np.cos(angle) - 0.5))
        expected += weight * image[rows.clip(0, 39)][:, cols.clip(0, 51)]
    assert motion_blur(X, 1, draws())[0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_zoom_blur_as_a_loop_over_factors() -> None:
    image, layers = X[0, 2].numpy(), []
    for factor in np.arange(1, 1.31, 0.03):
        height, width = int(np.ceil(40 / factor)), int(np.ceil(52 / factor))
        top, left = (40 - height) // 2, (52 - width) // 2
        layers.append(zoom(image[top : top + height, left : left + width], factor, order=1)[:40, :52])
    expected = (image + sum(layers)) / (len(layers) + 1)
    assert zoom_blur(X, 5, [])[0, 2].numpy() == pytest.approx(expected, abs=1e-5)


def test_glass_shows_pixels_from_nearby_only() -> None:
    """On a slope of one grey level a column, no value comes from further away than the displacements and the blurs reach."""
    _, most, repetitions = GLASS[3]
    slope = torch.arange(60.0).expand(1, 1, 50, 60) / 100
    change = (glass_blur(slope, 4, draws()) - slope)[..., 10:-10].abs() * 100
    assert change.mean() > 0.05 and change.max() <= most * repetitions
    assert change.max() > most * 0.2
