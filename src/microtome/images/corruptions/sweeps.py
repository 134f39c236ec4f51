"""Continuous changes of an image, each with an amount that changes nothing: contrast, brightness, colour scale, size.

Contrast and brightness change 8-bit values, which are cut off at black and white. The colour scale multiplies the normalised input of
the network, which nothing cuts off; the finding about patch embeddings (Kim et al. 2021, arXiv:2111.08413) is about it. The size shrinks
the image on a ground of its mean colour, so that objects become smaller and nothing else is lost but their detail.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from microtome.errors import UnknownName, did_you_mean

Pixels = np.ndarray[Any, Any]
SWEEPS: dict[str, tuple[float, tuple[float, ...]]] = {  # the amount that changes nothing, and those that are measured
    "contrast": (1.0, (0.25, 0.5, 0.75, 1.5, 2.0, 4.0, 8.0)),
    "brightness": (0.0, (-0.5, -0.25, 0.25, 0.5)),
    "colour_scale": (1.0, (0.25, 0.5, 2.0, 4.0, 8.0)),
    "size": (1.0, (0.25, 0.35, 0.5, 0.7)),
}
ON_INPUT = ("colour_scale",)  # changes the normalised input, all others the 8-bit image


def sweep_pixels(pixels: Pixels, name: str, amount: float) -> Pixels:
    """Images uint8 (image, row, col, channel) with their contrast, brightness or size changed.

    Raises:
        UnknownName: there is no such sweep of pixels; the nearest is named.
    """
    x = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div(255)
    if name == "contrast":
        means = x.mean((1, 2, 3), keepdim=True)
        x = means + amount * (x - means)
    elif name == "brightness":
        x = x + amount
    elif name == "size":
        x = _shrink(x, amount)
    else:
        known = [sweep for sweep in SWEEPS if sweep not in ON_INPUT]
        raise UnknownName(f"There is no sweep '{name}' of pixels.{did_you_mean(name, known)}")
    return x.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def _shrink(x: Tensor, fraction: float) -> Tensor:
    """The images at that fraction of their sides, in the middle of a ground of their mean colour."""
    rows, cols = x.shape[2:]
    height, width = max(1, round(rows * fraction)), max(1, round(cols * fraction))
    ground = x.mean((2, 3), keepdim=True).expand_as(x).clone()
    top, left = (rows - height) // 2, (cols - width) // 2
    ground[:, :, top : top + height, left : left + width] = interpolate(x, (height, width), mode="area")
    return ground
