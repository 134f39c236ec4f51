"""Features of a layer averaged over positions: one row of units for each image, whatever the layout."""

from typing import Any

import numpy as np
from torch import Tensor

from microtome.numerics.statistics.positions import position_means
from microtome.scan import BatchValues
from microtome.specimen import Specimen


def pool_once(specimen: Specimen, name: str, value: Tensor, seen: BatchValues) -> np.ndarray[Any, Any]:
    """`pool_positions` for an analysis in a scan, computed once for all analyses that ask for this layer; not to be changed."""
    return seen.once_a_batch(("pooled", name), lambda: pool_positions(specimen, name, value))


def pool_positions(specimen: Specimen, name: str, value: Tensor) -> np.ndarray[Any, Any]:
    """The value of a layer as float32 (image, unit): the mean over positions, class and register tokens included."""
    if value.dim() < 3:
        return value.float().cpu().numpy().copy()
    units_first = specimen.layer(name).layout == "nchw"
    return position_means(value.flatten(2) if units_first else value.flatten(1, -2).transpose(1, 2)).float().numpy()
