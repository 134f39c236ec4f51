"""Activation times gradient, summed over units.

The map is complete: its sum is the sum of activation times gradient, which is the class score itself where the network after the layer is
piecewise linear without biases. On a mean over positions and a linear head it equals Grad-CAM.

Source: Draelos & Carin 2020, arXiv:2011.08891.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind, complete_map


@final
class HiResCam(GradientKind):
    """HiResCAM."""

    title = "HiResCAM"
    complete = True

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return complete_map(activation, gradient)
