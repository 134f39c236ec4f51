"""Contrast, saturation, deformation, pixels and JPEG: Pillow, colorsys and SciPy say the same."""

import colorsys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from corrupted_photographs import photographs
from microtome.images.corruptions.digital import (
    ELASTIC,
    SATURATION,
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


PHOTOS = photographs(1)
X = as_tensor(PHOTOS)


def test_contrast_keeps_the_mean_of_each_channel() -> None:
    found = contrast(X, 3, [])
    assert torch.allclose(found.mean((2, 3)), X.mean((2, 3)), atol=1e-5)
    assert torch.allclose(found.std((2, 3)), 0.2 * X.std((2, 3)), atol=1e-5)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_saturation_in_hsv(severity: int) -> None:
    factor, added = SATURATION[severity - 1]
    expected = np.empty_like(PHOTOS[0], dtype=float)
    for row, col in np.ndindex(PHOTOS.shape[1:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(PHOTOS[0, row, col] / 255))
        expected[row, col] = colorsys.hsv_to_rgb(hue, min(max(saturation * factor + added, 0), 1), value)
    assert saturate(X, severity, [])[0].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-5)
    assert saturate(X[:, :1], severity, []) is not None and torch.equal(saturate(X[:, :1], severity, []), X[:, :1])


def test_deformation_is_scipys() -> None:
    rows, cols = PHOTOS.shape[1:3]
    fields = np.random.default_rng(4).uniform(-0.005 * rows, 0.005 * rows, (2, rows, cols))
    col, row = (gaussian_filter(field, (0.01 * rows, 0.01 * cols), mode="reflect", truncate=3) * ELASTIC[4] for field in fields)
    places = np.mgrid[:rows, :cols] + np.stack([row, col])
    expected = map_coordinates(X[0, 0].numpy(), places, order=1, mode="reflect")
    assert elastic_transform(X, 5, [np.random.default_rng(4)])[0, 0].numpy() == pytest.approx(expected, abs=1e-4)


def test_pixels_and_jpeg_are_pillows() -> None:
    image = Image.fromarray(PHOTOS[0])
    coarse = image.resize((int(61 * 0.4), int(45 * 0.4)), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)
    assert (pixelate(X, 3, [])[0].permute(1, 2, 0).mul(255).round().numpy() == np.asarray(coarse)).all()
    file = BytesIO()
    image.save(file, "JPEG", quality=10)
    found = jpeg_compression(X, 4, [])[0].permute(1, 2, 0).mul(255).round().numpy()
    assert (found == np.asarray(Image.open(file))).all()
