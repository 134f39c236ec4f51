"""Each unit's map weighted by the mean of its gradient.

Where positions matter to the rest of the network (any head but a mean over positions), the mean of the gradient is not what the
class score depends on, and the map's sum is not the score.

Source: Selvaraju et al. 2017, arXiv:1610.02391, eq. 1-2.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind, weighted_sum


@final
class GradCam(GradientKind):
    """Grad-CAM."""

    title = "Grad-CAM"

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return weighted_sum(activation, gradient.mean((2, 3)))
