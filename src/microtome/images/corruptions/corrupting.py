"""One call for every corruption: 8-bit images in, 8-bit images out, the same for an image whatever stands beside it."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import BadOption, UnknownName, did_you_mean
from microtome.images.corruptions import blur, digital, noise, weather

Pixels = np.ndarray[Any, Any]
Corruption = Callable[[Tensor, int, Sequence[np.random.Generator]], Tensor]
SEVERITIES = (1, 2, 3, 4, 5)
CORRUPTIONS: dict[str, Corruption] = {  # the fifteen of the benchmark, then its four for validation
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": weather.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": weather.spatter,
    "saturate": digital.saturate,
}


def corrupt(pixels: Pixels, name: str, severity: int, seed: int = 0, device: str = "cpu") -> Pixels:
    """Corrupted images, uint8 (image, row, col, channel) as given; of one channel or three, of any size.

    What is random is drawn for each image from `seed`, the corruption and the pixels themselves, so that an image is corrupted alike in
    any batch and any order, and by the same draw at all severities.

    Raises:
        UnknownName: there is no such corruption; the nearest is named.
        BadOption: a severity outside 1 to 5, or images that are not 8-bit grey or RGB.
    """
    if name not in CORRUPTIONS:
        raise UnknownName(f"There is no corruption '{name}'.{did_you_mean(name, CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise BadOption(f"severity {severity} of {name} does not exist; it takes 1 to 5.")
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise BadOption(
            f"corruptions take 8-bit images (image, row, col, channel) of one channel or three, and were given {pixels.dtype} "
            f"{pixels.shape}."
        )
    draws = [random_of(image, name, seed) for image in pixels]
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2).float().div(255)
    corrupted = CORRUPTIONS[name](x, severity, draws).clamp(0, 1)
    return corrupted.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def random_of(image: Pixels, name: str, seed: int) -> np.random.Generator:
    """The random numbers of one image under one corruption."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(np.ascontiguousarray(image).tobytes())])
