"""Replaced boxes of pixels, the images that contain them, and the response of a network to those images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from microtome.instruments.perturbation.tape import memory_layout
from microtome.instruments.perturbation.windows import Spans


@dataclass(frozen=True, eq=False)
class Patch:
    """A box whose pixels are replaced: in which image, its upper left corner, and what stands there instead.

    `pixels` is (rgb, row, col), normalised as the network wants its input; a mask is the box around it with old and new pixels
    mixed. The box lies inside the image.
    """

    image: int
    top: int
    left: int
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class Response:
    """What the network gave: `scores` (image, class), and of the watched layer the sum over rows and cols of each map.

    `activity` is (image, unit) float64 for whole images, (patch,) of one chosen map for patches, None where nothing was watched.
    """

    scores: Tensor
    activity: Tensor | None = None


def flat_scores(scores: Tensor) -> Tensor:
    """(image, class), where some networks give (image, class, 1, 1)."""
    return scores.flatten(1) if scores.ndim > 2 else scores


def paste_patches(x: Tensor, patches: Sequence[Patch]) -> Tensor:
    """The images (patch, rgb, row, col) with one patch each, in the memory layout of `x`."""
    made = x[[patch.image for patch in patches]]
    for place, patch in enumerate(patches):
        rows, cols = patch.pixels.shape[1:]
        made[place, :, patch.top : patch.top + rows, patch.left : patch.left + cols] = patch.pixels
    return made.contiguous(memory_format=memory_layout(x))


def patch_spans(patches: Sequence[Patch]) -> tuple[Spans, Spans]:
    """Rows and cols that each patch covers (patch, side)."""
    rows = np.array([(patch.top, patch.top + patch.pixels.shape[1]) for patch in patches])
    cols = np.array([(patch.left, patch.left + patch.pixels.shape[2]) for patch in patches])
    return rows, cols


def concatenate_responses(parts: Sequence[Response]) -> Response:
    sums = [part.activity for part in parts if part.activity is not None]
    return Response(torch.cat([part.scores for part in parts]), torch.cat(sums) if sums else None)
