"""The size of the gradient by each pixel, averaged over noisy copies.

The mean gradient of 32 copies with normal noise, its standard deviation 0.15 of the image's own range of values; then the
largest absolute value of the channels, as for the input gradient. The noise follows from the image itself, so that a map is the same in
any batch.

Source: Smilkov et al. 2017, arXiv:1706.03825.
"""

from typing import final

import torch
from torch import Tensor

from microtome.instruments.attribution.image_seeds import image_noise
from microtome.instruments.attribution.kind_contract import LayerValues, PixelKind
from microtome.instruments.attribution.kinds.inputgradient import sensitivity

COPIES = 32
NOISE = 0.15  # standard deviation, as a fraction of the range of an image's values


@final
class SmoothGrad(PixelKind):
    """SmoothGrad."""

    title = "SmoothGrad"
    signed = False
    copies = COPIES

    def maps(self, values: LayerValues) -> list[Tensor]:
        assert values.pixels is not None  # a kind of the pixels gets them
        total = torch.zeros(values.targets, *values.activation.shape, dtype=torch.float64, device=values.activation.device)
        for part in values.pixels.gradients(COPIES, noisy_copies):
            total += part.gradients.double().sum(1)
        return [sensitivity(gradient).to(values.activation.dtype) for gradient in total / COPIES]


def noisy_copies(x: Tensor, numbers: range) -> Tensor:
    """Copies (copy, image, rgb, row, col) of the images with the noise of these numbers."""
    spread = NOISE * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    return torch.stack([x + spread * image_noise(x, number) for number in numbers])
