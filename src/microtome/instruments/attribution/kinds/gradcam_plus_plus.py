"""Each unit's map weighted by its positive gradients, positions with equal say.

The published weights (eq. 19) are g² / (2·g² + ΣA·g³) with g the gradient of the class score S, for Y = exp(S) and second derivatives
of S left out. Where g is not zero that is 1 / (2 + ΣA·g): no small constant is needed, none is added, and no scale of the scores makes
the result less exact. The weights themselves do depend on that scale: with large scores each unit counts by 1 / ΣA alone.

Evidence against the class is left out, since negative gradients are. The weights mean nothing where 2 + ΣA·g is not positive, which
takes negative activations; such positions count as zero and their number is reported.

Source: Chattopadhyay et al. 2018, arXiv:1710.11063, eq. 19; the form without small constants is ours.
"""

from typing import final

from torch import Tensor

from microtome.instruments.attribution.kind_contract import GradientKind, LayerValues, weighted_sum
from microtome.key_numbers import FRACTION, format_value


@final
class GradCamPlusPlus(GradientKind):
    """Grad-CAM++."""

    title = "Grad-CAM++"

    def signed_map(self, activation: Tensor, gradient: Tensor) -> Tensor:
        below = _denominator(activation, gradient)
        weights = (gradient.relu() / below.where(below > 0, 1.0)).where(below > 0, 0.0)
        return weighted_sum(activation, weights.sum((2, 3)))

    def remark(self, values: LayerValues) -> str:
        lost = total = 0
        for gradient in values.gradients:
            lost += int(((_denominator(values.activation, gradient) <= 0) & (gradient > 0)).sum())
            total += int((gradient > 0).sum())
        if not lost:
            return ""
        fraction = format_value(lost / total, FRACTION)
        return f"Grad-CAM++ has no weight at {fraction} of the positive gradients (negative activations); they count as zero."


def _denominator(activation: Tensor, gradient: Tensor) -> Tensor:
    return 2 + activation.sum((2, 3), keepdim=True) * gradient
