"""Weather: snow, frost, fog, brightness, spatter of water or mud."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve as filter_by
from scipy.ndimage import distance_transform_edt, uniform_filter
from torch import Tensor

from microtome.images.corruptions.fields import (
    Draws,
    blur_gaussian,
    convolve,
    drawn_field,
    luminance,
    motion_kernels,
    pink_noise,
    plasma,
    zoom_centre,
)

# mean and spread of the flakes, their zoom, the threshold, radius and σ of their motion, how much of the image stays
SNOW = (
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
FROST = ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # weights of the image and of the frost
FROST_MEAN, FROST_SPREAD = (0.52, 0.61, 0.66), 0.12  # those of the published photographs
FOG = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # density, decay of its detail
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
# mean, spread and blur of the drops, their threshold, strength (water) or blur of their rim (mud), mud or not
SPATTER = (
    (0.65, 0.3, 4, 0.69, 0.6, 0),
    (0.65, 0.3, 3, 0.68, 0.6, 0),
    (0.65, 0.3, 2, 0.68, 0.5, 0),
    (0.65, 0.3, 1, 0.65, 1.5, 1),
    (0.67, 0.4, 1, 0.65, 1.5, 1),
)
WATER, MUD = (175 / 255, 238 / 255, 238 / 255), (63 / 255, 42 / 255, 20 / 255)
REACH = 20  # px from the rim of a drop of water, beyond which its light no longer changes
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=np.float64)


def brightness(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """A larger value in HSV; images of one channel are raised."""
    added = BRIGHTNESS[severity - 1]
    value = x.amax(1, keepdim=True)
    raised = (value + added).clamp(max=1)
    return torch.where(value > 0, x / value.clamp(min=1e-12) * raised, raised)


def fog(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Clouds before the image."""
    density, decay = FOG[severity - 1]
    most = x.amax((1, 2, 3), keepdim=True)
    return (x + density * plasma(x, draws, decay)) * most / (most + density)


def snow(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Flakes in motion, before a paler image."""
    mean, spread, zoom, threshold, radius, sigma, kept = SNOW[severity - 1]
    flakes = mean + spread * drawn_field(x, draws, lambda random, shape: random.normal(size=shape), 1)
    flakes = zoom_centre(flakes, zoom)
    flakes = flakes.masked_fill(flakes < threshold, 0.0).clamp(0, 1)
    angles = [random.uniform(-135, -45) for random in draws]
    flakes = convolve(flakes, motion_kernels(int(radius), sigma, angles, x.device), "replicate")
    paler = kept * x + (1 - kept) * torch.maximum(x, luminance(x) * 1.5 + 0.5)
    return paler + flakes + flakes.flip(2, 3)


def frost(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Crystals before the image: ridges of a fractal field, with mean and spread of the published photographs."""
    image_weight, frost_weight = FROST[severity - 1]
    fields = np.stack([_crystals(random, *x.shape[2:]) for random in draws])[:, None].astype(np.float32)
    means = torch.tensor(FROST_MEAN if x.shape[1] == 3 else (float(np.mean(FROST_MEAN)),), device=x.device).view(1, -1, 1, 1)
    crystals = (means + FROST_SPREAD * torch.from_numpy(fields).to(x.device)).clamp(0, 1)
    return image_weight * x + frost_weight * crystals


def _crystals(random: np.random.Generator, rows: int, cols: int) -> NDArray[np.float64]:
    """Ridges of mean 0 and variance 1, on a slope of light."""
    ridges = -np.abs(pink_noise(random, rows, cols)) + 0.7 * pink_noise(random, rows, cols)
    spread = ridges.std()
    return (ridges - ridges.mean()) / spread if spread else ridges


def spatter(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Drops of water, or of mud at the last two severities."""
    mean, spread, sigma, threshold, strength, mud = SPATTER[severity - 1]
    drops = mean + spread * drawn_field(x, draws, lambda random, shape: random.normal(size=shape), 1)
    drops = blur_gaussian(drops, sigma)
    colour = torch.tensor(MUD if mud else WATER, device=x.device).view(1, 3, 1, 1)
    colour = colour if x.shape[1] == 3 else luminance(colour)
    if mud:
        cover = blur_gaussian((drops > threshold).float(), strength)
        cover = cover.masked_fill(cover < 0.8, 0.0)
        return x * (1 - cover) + colour * cover
    drops = drops.masked_fill(drops < threshold, 0.0)
    light = torch.from_numpy(np.stack([_light(drop) for drop in drops[:, 0].cpu().double().numpy()])).float()
    light = drops * light[:, None].to(x.device)
    return x + strength * light / light.amax((1, 2, 3), keepdim=True).clamp(min=1e-12) * colour


def _light(drops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Light (row, col) on drops, brighter on one side of their rims: embossed distance to the rims, by its rank."""
    wet = drops > 0
    if not wet.any() or wet.all():
        return wet.astype(np.float64)
    inside, outside = (np.asarray(distance_transform_edt(part), dtype=np.float64) for part in (wet, ~wet))
    far = np.minimum(np.where(wet, inside, outside), REACH)
    smooth = np.floor(uniform_filter(far, 3))
    values, ranks = np.unique(smooth, return_inverse=True)
    counts = np.cumsum(np.bincount(ranks.ravel())).astype(np.float64)
    equal = 255 * ((counts - counts[0]) / max(counts[-1] - counts[0], 1))[ranks].reshape(far.shape)
    assert len(values) == len(counts)
    return uniform_filter(np.clip(filter_by(equal, EMBOSS[::-1, ::-1], mode="mirror"), 0, 255), 3)
