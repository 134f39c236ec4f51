"""Each position of each unit weighted by its own gradient, where that is positive.

Positions keep their own weight, so that shallow layers give fine maps; evidence against the class is left out.

Source: Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE TIP 30.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind


@final
class LayerCam(GradientKind):
    """LayerCAM."""

    title = "LayerCAM"

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return (activation * gradient.relu()).sum(1)
