"""Faults of processing: contrast, elastic deformation, pixelation, JPEG, saturation."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import grid_sample

from microtome.images.corruptions.fields import Draws

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # factors about the mean of each channel
ELASTIC = (12.5, 16.25, 21.25, 25.0, 30.0)  # factors of the smoothed displacements
PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)  # fraction of the side
QUALITY = (25, 18, 15, 10, 7)  # of JPEG
SATURATION = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))  # factor of the saturation, and what is added


def contrast(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Less contrast about the mean of each channel."""
    means = x.mean((2, 3), keepdim=True)
    return (x - means) * CONTRAST[severity - 1] + means


def saturate(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Saturation changed in HSV; grey pixels turn red where some is added, images of one channel stay."""
    if x.shape[1] != 3:
        return x
    factor, added = SATURATION[severity - 1]
    value, least = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    span = value - least
    saturation = torch.where(value > 0, span / value.clamp(min=1e-12), torch.zeros_like(value))
    wanted = (saturation * factor + added).clamp(0, 1)
    red = torch.tensor([0.0, 1.0, 1.0], device=x.device).view(1, 3, 1, 1).expand_as(x)  # what a hue of 0 lacks
    lacking = torch.where(span > 0, (value - x) / span.clamp(min=1e-12), red)
    return value * (1 - wanted * lacking)


def elastic_transform(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Pixels displaced by a smooth random field."""
    rows, cols = x.shape[2:]
    sigma, most = (0.01 * rows, 0.01 * cols), 0.005 * rows
    fields = np.stack([random.uniform(-most, most, (2, rows, cols)) for random in draws])
    smooth = gaussian_filter(fields, (0, 0, *sigma), mode="reflect", truncate=3) * ELASTIC[severity - 1]
    moved = torch.from_numpy(smooth.astype(np.float32)).to(x.device)
    row = torch.arange(rows, device=x.device)[:, None] + moved[:, 1]
    col = torch.arange(cols, device=x.device) + moved[:, 0]
    places = torch.stack([(2 * col + 1) / cols - 1, (2 * row + 1) / rows - 1], dim=-1)
    return grid_sample(x, places, mode="bilinear", padding_mode="reflection", align_corners=False)


def pixelate(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Fewer pixels, each the mean of what it covers."""

    def coarse(image: Image.Image) -> Image.Image:
        size = [max(1, int(side * PIXELS[severity - 1])) for side in image.size]
        return image.resize(size, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)

    return _by_pillow(x, coarse)


def jpeg_compression(x: Tensor, severity: int, draws: Draws) -> Tensor:
    """Saved as JPEG of low quality, and read again."""

    def saved(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=QUALITY[severity - 1])
        return Image.open(file)

    return _by_pillow(x, saved)


def _by_pillow(x: Tensor, change: Callable[[Any], Any]) -> Tensor:
    """Every image changed by Pillow, as 8 bits."""
    pixels = x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    grey = pixels.shape[3] == 1
    changed = [np.asarray(change(Image.fromarray(image[..., 0] if grey else image))) for image in pixels]
    stack = np.stack(changed)
    return torch.from_numpy((stack[..., None] if grey else stack).astype(np.float32) / 255).permute(0, 3, 1, 2).to(x.device)
