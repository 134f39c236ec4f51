"""Blurs and zooms against SciPy and loops; clouds and pink noise by their statistics."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter, zoom

from microtome.images.corruptions.fields import (
    blur_gaussian,
    convolve,
    luminance,
    motion_kernels,
    pink_noise,
    plasma,
    zoom_centre,
)

X = torch.rand(2, 3, 23, 31, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("sigma", [0.7, 2.0, 6.0])
def test_gaussian_blur_is_scipys(sigma: float) -> None:
    expected = gaussian_filter(X.numpy().astype(np.float64), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    assert blur_gaussian(X, sigma).numpy() == pytest.approx(expected, abs=1e-6)
    assert blur_gaussian(X, 0.1) is X


@pytest.mark.parametrize(("mode", "scipys"), [("reflect", "mirror"), ("replicate", "nearest")])
def test_convolution_with_a_kernel_for_each_image(mode: str, scipys: str) -> None:
    kernels = torch.rand(2, 7, 7, generator=torch.Generator().manual_seed(1))
    found = convolve(X, kernels, mode)
    for image in range(2):
        flipped = kernels[image].numpy()[::-1, ::-1]
        for channel in range(3):
            expected = correlate(X[image, channel].numpy(), flipped, mode=scipys)
            assert found[image, channel].numpy() == pytest.approx(expected, abs=1e-4)
    assert convolve(X[:, :, :3, :3], kernels, "reflect").shape == (2, 3, 3, 3)  # the mirror is smaller than the kernel


def test_motion_along_a_row_by_hand() -> None:
    """At 0 degrees half a Gaussian of 2·2+1 steps leads to the left of the centre."""
    (kernel,) = motion_kernels(2, 1.0, [0.0], torch.device("cpu")).numpy()
    weights = np.exp(-(np.arange(5) ** 2) / 2)
    expected = np.zeros((11, 11))
    expected[5, 5 - np.arange(5)] = weights / weights.sum()
    assert kernel == pytest.approx(expected, abs=1e-6)
    (steep,) = motion_kernels(2, 1.0, [90.0], torch.device("cpu")).numpy()
    assert steep == pytest.approx(expected.T, abs=1e-6)


def test_zoom_of_the_middle_is_scipys() -> None:
    image = X[0, 0].numpy()
    height, width = int(np.ceil(23 / 1.3)), int(np.ceil(31 / 1.3))
    top, left = (23 - height) // 2, (31 - width) // 2
    expected = zoom(image[top : top + height, left : left + width], 1.3, order=1)[:23, :31]
    assert zoom_centre(X[:1, :1], 1.3)[0, 0].numpy() == pytest.approx(expected, abs=1e-5)
    assert torch.equal(zoom_centre(X, 1.0), X)


def test_clouds_reach_from_nought_to_one_and_are_smooth() -> None:
    draws = [np.random.default_rng(n) for n in (0, 1)]
    clouds = plasma(torch.zeros(2, 3, 64, 64), draws, 2.0)
    assert clouds.shape == (2, 1, 64, 64) and clouds.min() == 0 and clouds.max() == 1
    assert not torch.equal(clouds[0], clouds[1])
    steps = (clouds[..., 1:] - clouds[..., :-1]).abs().mean()
    assert steps < 0.25 * clouds.std()
    rough = plasma(torch.zeros(1, 3, 64, 64), [np.random.default_rng(0)], 1.2)
    assert (rough[..., 1:] - rough[..., :-1]).abs().mean() > steps
    assert plasma(torch.zeros(1, 3, 1, 1), draws[:1], 2.0).shape == (1, 1, 1, 1)


def test_pink_noise_falls_with_frequency() -> None:
    field = pink_noise(np.random.default_rng(0), 128, 128)
    assert (field.mean(), field.std()) == pytest.approx((0, 1))
    power = np.abs(np.fft.rfft2(field)) ** 2
    slow, fast = power[2:6, 2:6].mean(), power[32:48, 32:48].mean()
    assert np.log(slow / fast) / np.log(40 / 4) == pytest.approx(2.0, abs=0.5)
    assert (pink_noise(np.random.default_rng(0), 1, 1) == 0).all()


def test_luminance() -> None:
    white = luminance(torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1))
    assert white.item() == pytest.approx(0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6)
    assert luminance(torch.ones(1, 1, 2, 2)).shape == (1, 1, 2, 2)
