"""Each unit's map weighted by its gradient, averaged with the activation as weights.

The weight of a unit is ΣA·g / ΣA. A unit whose activations sum to zero has no weight and counts as zero. Where activations are all
positive the map is complete; where their sum nearly vanishes (layers without a rectifier) the weight is unstable.

Source: Fu et al. 2020, arXiv:2008.02312.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind, weighted_sum


@final
class XGradCam(GradientKind):
    """XGrad-CAM."""

    title = "XGrad-CAM"
    complete = True

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        mass = activation.sum((2, 3))
        weights = ((activation * gradient).sum((2, 3)) / mass).where(mass != 0, 0.0)
        return weighted_sum(activation, weights)
