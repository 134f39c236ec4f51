"""Blurs: out of focus, through glass, by motion, by zooming, Gaussian."""

import numpy as np
import torch
from torch import Tensor

from microtome.images.corruptions.fields import Draws, blur_gaussian, convolve, motion_kernels, zoom_centre

DISC = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))  # radius, and σ that softens the disc, px
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # σ, largest displacement, repetitions
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))  # radius, σ, px
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # factors from 1 up to, in steps of
SIGMA = (1, 2, 3, 4, 6)  # px


def gaussian_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A Gaussian blur."""
    return blur_gaussian(x, SIGMA[severity - 1])


def disc_kernel(radius: int, softness: float) -> Tensor:
    """A disc (1, row, col) of sum 1, its rim softened by a Gaussian of three px or, beyond a radius of eight, of five."""
    reach = max(8, radius)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    disc = (places[:, None] ** 2 + places**2 <= radius**2).float()
    half = 1 if radius <= 8 else 2
    soft = torch.exp(-0.5 * (torch.arange(-half, half + 1) / softness) ** 2)
    soft = soft / soft.sum()
    disc = torch.nn.functional.conv2d(disc[None, None], soft[:, None][None, None] * soft, padding=half)[0]
    return disc / disc.sum()


def defocus_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Every point spread over a disc."""
    return convolve(x, disc_kernel(*DISC[severity - 1]).to(x.device), "reflect")


def motion_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """The trace of a motion, at an angle within 45 degrees of the rows."""
    angles = [random.uniform(-45, 45) for random in draws]
    return convolve(x, motion_kernels(*MOTION[severity - 1], angles, x.device), "replicate")


def zoom_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """The mean of the image and of its middle at growing factors."""
    factors = np.arange(1, *ZOOM[severity - 1])
    return (x + torch.stack([zoom_centre(x, float(factor)) for factor in factors]).sum(0)) / (len(factors) + 1)


def glass_blur(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Pixels displaced at random between two Gaussian blurs.

    The published loop swaps one pixel after the other; here all are displaced at once, so that a pixel can be shown twice.
    """
    sigma, most, repetitions = GLASS[severity - 1]
    rows, cols = x.shape[2:]
    blurred = blur_gaussian(x, sigma)
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    images = list[Tensor]()
    for blurred_image, random in zip(blurred, draws, strict=True):
        image = blurred_image
        for _ in range(repetitions):
            offsets = torch.from_numpy(np.floor(random.random((2, rows, cols)) * 2 * most) - most).long()
            image = image[:, (row + offsets[0]).clamp(0, rows - 1), (col + offsets[1]).clamp(0, cols - 1)]
        images.append(image)
    return blur_gaussian(torch.stack(images), sigma)
