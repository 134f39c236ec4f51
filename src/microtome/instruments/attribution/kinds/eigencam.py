"""The projection of the activations on their first right singular vector.

The class has no influence: the map shows what dominates the layer, not what speaks for a class. The singular vector has no sign
of its own; the sign is taken for which the map sums to a positive number, or its largest value is positive where the sum is zero.

Source: Muhammad & Yeasin 2020, arXiv:2008.00299 (activations are not centred; the sign is ours).
"""

from typing import ClassVar, final

import torch
from torch import Tensor

from microtome.instruments.attribution.kind_contract import LayerValues, MapKind, MapNeeds


@final
class EigenCam(MapKind):
    """Eigen-CAM."""

    title = "Eigen-CAM"
    needs: ClassVar[MapNeeds] = "activation"
    depends_on_class = False

    def maps(self, values: LayerValues) -> list[Tensor]:
        return [principal_map(values.activation)] * values.targets


def principal_map(activation: Tensor) -> Tensor:
    """The first left singular vector of (position, unit) times its singular value, for each image (image, row, col)."""
    rows = activation.flatten(2).transpose(1, 2).double()  # (image, position, unit)
    if rows.shape[1] <= rows.shape[2]:
        squares, vectors = torch.linalg.eigh(rows @ rows.transpose(1, 2))
        line = vectors[:, :, -1] * squares[:, -1:].clamp_min(0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(rows.transpose(1, 2) @ rows)
        line = (rows @ vectors[:, :, -1:])[:, :, 0]
    total, largest = line.sum(1, keepdim=True), line.gather(1, line.abs().argmax(1, keepdim=True))
    known = total.abs() > 1e-9 * line.abs().sum(1, keepdim=True)
    sign = torch.where(known, total, largest).sign()
    return (line * sign).to(activation.dtype).unflatten(1, activation.shape[2:])
