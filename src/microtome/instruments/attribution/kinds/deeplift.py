"""Image minus grey, times DeepLift's multipliers between both, summed over channels.

Grey is the mean of the input recipe, zero after normalisation. The rescale rule is put on every elementwise non-linearity and on maximum
pooling, whether they are modules or functions. Norms that depend on the image, attention and products of two values pass the plain
gradient, and the map then does not sum to the target's difference between image and grey; what is missing is reported for each image.

Source: Shrikumar et al. 2017, arXiv:1704.02685, sec. 3.5.2 (rescale rule).
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from microtome.instruments.attribution.grey_baseline import completeness_gaps
from microtome.instruments.attribution.kind_contract import LayerValues, PixelKind
from microtome.instruments.attribution.pixel_targets import PixelTargets, pixel_gradients
from microtome.instruments.attribution.rescale_rule import RescaleRule
from microtome.specimen.full_gradients import freeze_parameters

PASSES = 4  # images of memory that one image takes: itself and grey, and copies of what goes into and comes out of each rule


@final
class DeepLift(PixelKind):
    """DeepLift."""

    title = "DeepLift"
    copies = PASSES

    def maps(self, values: LayerValues) -> list[Tensor]:
        pixels = values.pixels
        assert pixels is not None  # a kind of the pixels gets them
        many, count = max(1, pixels.at_once(gradients=True) // PASSES), len(pixels.x)
        parts = [range(start, min(start + many, count)) for start in range(0, count, many)]
        return list(torch.cat([rescaled_maps(pixels.for_images(part)) for part in parts], 1))

    def gaps(self, values: LayerValues, maps: Sequence[Tensor]) -> Tensor | None:
        assert values.pixels is not None  # a kind of the pixels gets them
        return completeness_gaps(values.pixels, maps)


def rescaled_maps(pixels: PixelTargets) -> Tensor:
    """The maps (target, image, row, col) of all images by one pass of them and as many greys."""
    with freeze_parameters(pixels.specimen.net):
        images = pixels.x.clone().requires_grad_()
        with RescaleRule(len(images)):
            values = pixels.of_variants(torch.cat([images, torch.zeros_like(images)]))[:, 0]
            multipliers = pixel_gradients(pixels.specimen, list(values), images)
    return (pixels.x * multipliers).sum(2)
