"""The size of the gradient by each pixel, the largest of its channels.

The gradient says in which direction a pixel would have to change, not whether it speaks for the class, so the map has no sign: it
shows to which pixels the score is sensitive. It is taken by the normalised image.

Source: Simonyan et al. 2013, arXiv:1312.6034, sec. 3.1.
"""

from typing import ClassVar, final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapNeeds, PixelKind


@final
class InputGradient(PixelKind):
    """Input gradient."""

    title = "Input gradient"
    needs: ClassVar[MapNeeds] = "gradient"
    signed = False

    def maps(self, values: LayerValues) -> list[Tensor]:
        return [sensitivity(gradient) for gradient in values.gradients]


def sensitivity(gradient: Tensor) -> Tensor:
    """The largest absolute value of the channels of each pixel (image, row, col) of (image, rgb, row, col)."""
    return gradient.abs().amax(1)
