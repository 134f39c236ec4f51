"""The grey image that maps of the pixels compare with, and how far such maps are from summing to the difference of the target.

Grey is the mean of the network's own input recipe, which is zero after normalisation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from microtome.instruments.attribution.pixel_targets import PixelTargets

ROUNDING = 1e-5  # a difference below that fraction of the targets themselves is rounding, and no gap is known
MAX_GAP = 0.05  # of the difference; a map with a larger gap is reported as not complete


def fade_images(x: Tensor, weights: Sequence[float]) -> Tensor:
    """The images (variant, image, rgb, row, col) on the straight line from grey: 0 is grey, 1 the image itself."""
    return torch.stack([x * weight for weight in weights])


def completeness_gaps(pixels: PixelTargets, maps: Sequence[Tensor]) -> Tensor:
    """By how much the sum of each map misses the target's difference between image and grey, as a fraction of it (target, image).

    NaN where the difference is rounding.
    """
    ends = (1.0, 0.0)
    clean, grey = pixels.values(2, lambda x, part: fade_images(x, [ends[number] for number in part])).double().unbind(1)
    difference = clean - grey
    sums = torch.stack([heat.double().sum((1, 2)) for heat in maps])
    known = difference.abs() > ROUNDING * torch.maximum(clean.abs(), grey.abs())
    return ((sums - difference).abs() / difference.abs()).where(known, torch.nan)
