"""Everything that is measured of the maps of one method on one batch of images."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.instruments.faithfulness.methods import MapMethod
from microtome.instruments.faithfulness.removal_trials import (
    Floats,
    confidence_through,
    curve_areas,
    removal_curves,
    road_scores,
)
from microtome.instruments.faithfulness.stability import map_correlation, max_sensitivity
from microtome.instruments.faithfulness.trials import Trial
from microtome.numerics.maps.localisation import localisation_scores
from microtome.specimen import Specimen

POINTING_TOLERANCE = 15 / 224  # distance of the maximum from the object, as a fraction of the shorter side
CURVES = ("deletion_curve", "insertion_curve")
MASKED = ("pointing", "lift")
FEW = 2  # images of a batch on which costly methods are perturbed and given other weights
MEASURES = ("score", "deletion", "insertion", "road", "drop", "increase", "sensitivity", "swap")


@dataclass
class MethodRows:
    """The measures of one method: for each name the values (image,) of every batch, and curves (image, fraction)."""

    values: dict[str, list[Floats]] = field(default_factory=dict[str, list[Floats]])

    def add(self, row: dict[str, Floats]) -> None:
        for name, value in row.items():
            self.values.setdefault(name, []).append(value)

    def column(self, name: str, order: np.ndarray[Any, Any]) -> Floats:
        """All values of one measure, in the order of the images."""
        return np.concatenate(self.values[name])[order]


def measure_maps(
    specimen: Specimen, method: MapMethod, trial: Trial, maps: list[Tensor], draws: int, seed: int, masks: Any
) -> dict[str, Floats]:
    """The row of measures for the maps of the predicted class and of the runner-up."""
    heat, canvas = maps[0], trial.canvas
    order = canvas.order(heat)
    curves = removal_curves(canvas, order)
    row = curve_areas(canvas, curves) | confidence_through(canvas, heat)
    row |= dict(zip(CURVES, curves, strict=True))
    row["road"] = road_scores(canvas, order)
    few = trial.request.first(FEW) if method.costly else trial.request
    changes = max_sensitivity(method, specimen, few, heat[: len(few.x)], draws, seed)
    row["sensitivity"] = of_first(changes, len(heat))
    row["swap"] = map_correlation(heat, maps[1], canvas.plan.patch)
    if masks is not None:
        row |= _localisation(heat, torch.from_numpy(masks))
    return row


def of_first(values: Floats, count: int) -> Floats:
    """The values of the first images, and not a number for the rest of `count`."""
    return np.concatenate([values, np.full((count - len(values), *values.shape[1:]), np.nan)])


def _localisation(heat: Tensor, masks: Tensor) -> dict[str, Floats]:
    """Whether the hottest pixel lies on the object, and the part of the heat that does, less the object's part of the image."""
    size = (int(masks.shape[1]), int(masks.shape[2]))
    scored = localisation_scores(heat.relu().cpu(), masks, POINTING_TOLERANCE * min(size))
    return {"pointing": scored["pointing_game"].numpy(), "lift": (scored["ebpg"] - scored["area"]).numpy()}
