"""Noise of cameras: Gaussian, shot, impulse, speckle."""

from typing import Any

import numpy as np
from torch import Tensor

from microtome.images.corruptions.fields import Draws, drawn_field

GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)  # standard deviation
PHOTONS = (60, 25, 12, 5, 3)  # for white
IMPULSES = (0.03, 0.06, 0.09, 0.17, 0.27)  # fraction of values
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)  # standard deviation, of the value itself


def _normal(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return random.normal(size=shape)


def gaussian_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal noise on every value."""
    return x + GAUSSIAN[severity - 1] * drawn_field(x, draws, _normal, x.shape[1])


def speckle_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Normal noise on every value, in proportion to it."""
    return x + SPECKLE[severity - 1] * x * drawn_field(x, draws, _normal, x.shape[1])


def shot_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Photons counted: Poisson noise."""
    photons = PHOTONS[severity - 1]
    values = iter(x.cpu().double().numpy())
    counted = drawn_field(x, draws, lambda random, shape: random.poisson(next(values) * photons).astype(np.float64), x.shape[1])
    return counted / photons


def impulse_noise(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A fraction of the values black or white, half of them each."""
    chance = drawn_field(x, draws, lambda random, shape: random.random(shape), x.shape[1])
    hit = IMPULSES[severity - 1]
    return x.masked_fill(chance < hit / 2, 0.0).masked_fill(chance > 1 - hit / 2, 1.0)
