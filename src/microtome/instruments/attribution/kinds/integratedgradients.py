"""Image minus grey, times the mean gradient on the line between both.

The products are summed over channels. Grey is the mean of the input recipe, zero after normalisation. The mean is taken by
Gauss-Legendre quadrature with 32 points, of images whose map then misses the target's difference between image and grey by more than 5%
with 128; what is missing in the end is reported for each image.

Source: Sundararajan et al. 2017, arXiv:1703.01365, eq. 1 and proposition 1.
"""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from microtome.instruments.attribution.grey_baseline import MAX_GAP, completeness_gaps, fade_images
from microtome.instruments.attribution.kind_contract import LayerValues, PixelKind
from microtome.instruments.attribution.pixel_targets import PixelTargets

POINTS = (32, 128)


@final
class IntegratedGradients(PixelKind):
    """Integrated gradients."""

    title = "Integrated gradients"
    copies = sum(POINTS)

    def maps(self, values: LayerValues) -> list[Tensor]:
        assert values.pixels is not None  # a kind of the pixels gets them
        few, many = POINTS
        maps = integrated_gradients(values.pixels, few)
        wide = completeness_gaps(values.pixels, list(maps)) > MAX_GAP
        again = wide.any(0).nonzero()[:, 0].tolist()
        if again:
            finer = integrated_gradients(values.pixels.for_images(again), many)
            maps[:, again] = torch.where(wide[:, again, None, None], finer, maps[:, again])
        return list(maps)

    def gaps(self, values: LayerValues, maps: Sequence[Tensor]) -> Tensor | None:
        assert values.pixels is not None  # a kind of the pixels gets them
        return completeness_gaps(values.pixels, maps)


def integrated_gradients(pixels: PixelTargets, points: int) -> Tensor:
    """The maps (target, image, row, col) by that many points of quadrature."""
    places, weights = np.polynomial.legendre.leggauss(points)
    line = ((places + 1) / 2).tolist()
    total: Tensor | None = None
    for part in pixels.gradients(points, lambda x, numbers: fade_images(x, [line[number] for number in numbers])):
        share = torch.from_numpy(weights / 2)[part.variants.start : part.variants.stop].to(part.gradients.device)
        mean = torch.einsum("v,tvicxy->ticxy", share, part.gradients.double())
        total = mean if total is None else total + mean
    assert total is not None  # there is at least one point
    return (total * pixels.x).sum(2).to(pixels.x.dtype)
