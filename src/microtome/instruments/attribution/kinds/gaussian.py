"""Aligned Gaussian CAM: activation times gradient, drawn by Gaussians at receptive-field centres.

The map is complete, as in HiResCAM. A position does not stand for the square of pixels that a plain tiling gives it: it depends on a
region around the centre of its receptive field, about as a Gaussian does. Position (i, j) is therefore spread by a Gaussian around that
centre, whose standard deviation is that of the layer's own effective receptive field (`--gaussian-width` is a multiple of it).

Two normalisations: with *partition* the weights of all positions sum to 1 at every pixel, so that a constant map stays constant; with
*mass* the pixels of every position sum to 1, so that the sum of the map stays. Analyses draw with *partition*, which does not
brighten the border.

Source: ours; that effective receptive fields are near-Gaussian is Luo et al. 2016, arXiv:1701.04128.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind, complete_map


@final
class AlignedGaussianCam(GradientKind):
    """Aligned Gaussian CAM."""

    title = "Gaussian CAM"
    complete = True
    gaussian = True

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return complete_map(activation, gradient)
