"""Where an occluder goes, what it covers, and how much of what was lost lies on an object.

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 4.2 (they give neither the square's size nor its stride).
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from microtome.numerics.arrays import Array


def occluder_starts(side: int, size: int, stride: int) -> Int[Array, " place"]:
    """First pixels of the occluder's places along a side: every `stride` px, until the edge is reached.

    The last occluder is cut at the image's edge where it does not fit. A stride above the size leaves gaps.
    """
    first = stride * np.arange(-(-max(side - size, 0) // stride) + 1)
    return first[first < side]


def centres(first: Int[Array, " place"], size: int, side: int) -> Float64[Array, " place"]:
    """The pixel on which each occluder is centred: of what lies in the image, where it is cut at the edge."""
    return (first + np.minimum(first + size, side) - 1) / 2


def blur(x: Float[Tensor, "image rgb row col"], sigma: float) -> Float[Tensor, "image rgb row col"]:
    """The images under a Gaussian blur of that standard deviation in px, their edges continued by the last pixel."""
    reach = max(1, int(np.ceil(3 * sigma)))
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(x)
    units = x.shape[1]
    wide = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(wide, kernel.view(1, 1, 1, -1).expand(units, 1, 1, -1), groups=units)
    return F.conv2d(across, kernel.view(1, 1, -1, 1).expand(units, 1, -1, 1), groups=units)


def mask_coverage(
    mask: Bool[Tensor, "image row col"], rows: Int[Array, " row_"], cols: Int[Array, " col_"], size: int
) -> Float64[Tensor, "image row_ col_"]:
    """The fraction of the occluder at each place that lies on the mask."""
    sums = F.pad(mask.double().cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, left = torch.from_numpy(rows), torch.from_numpy(cols)
    bottom, right = (top + size).clamp_max(mask.shape[1]), (left + size).clamp_max(mask.shape[2])
    inside = sums[:, bottom][:, :, right] - sums[:, top][:, :, right] - sums[:, bottom][:, :, left] + sums[:, top][:, :, left]
    return inside / ((bottom - top)[:, None] * (right - left)[None, :])


def object_contrast(
    loss: Float[Tensor, "image row col"], share: Float[Tensor, "image row col"]
) -> dict[str, Float64[Tensor, " image"]]:
    """How what was lost lies to an object: `inside`, `outside`, `energy`, `area`, `lift`.

    `share` says how much of each occluder covers the object. `inside` and `outside` are means of the loss, each place weighted by
    the part of its occluder on and off the object; `energy` is the fraction of the positive loss on the object, `area` what an even
    map would put there, `lift` their difference. Not numbers where nothing (or everything) is covered, or nothing is lost.
    """
    loss, share = loss.double().flatten(1), share.double().flatten(1)
    lost = loss.clamp_min(0)
    inside = (loss * share).sum(1) / share.sum(1)
    outside = (loss * (1 - share)).sum(1) / (1 - share).sum(1)
    energy = (lost * share).sum(1) / lost.sum(1)
    area = share.mean(1).where(share.sum(1) > 0, torch.nan)
    return {"inside": inside, "outside": outside, "energy": energy, "area": area, "lift": energy - area}
