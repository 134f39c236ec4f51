"""Outputs of a network for images that an occluder covers in part: the maps of one batch, by occluder position."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.instruments.perturbation.patches import Patch
from microtome.instruments.perturbation.perturber import Perturber

MEASURES = ("activity", "probability")


@dataclass(frozen=True)
class OccluderGrid:
    """Positions of the occluder: its first rows and columns, and its side, in px."""

    rows: np.ndarray[Any, Any]
    cols: np.ndarray[Any, Any]
    size: int

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.cols)


@dataclass
class OcclusionMaps:
    """Outputs of one network: maps (image, row, col) by occluder position, and the same without occluder (image,)."""

    activity: Tensor
    probability: Tensor
    label: Tensor
    clean_activity: Tensor
    clean_probability: Tensor
    clean_label: Tensor

    def losses(self) -> Tensor:
        """(image, measure, row, col): the activity lost, as a fraction of that without occluder, and the probability lost."""
        whole = self.clean_activity[:, None, None]
        return torch.stack(
            [
                (whole - self.activity) / whole.abs().where(whole != 0, torch.nan),
                self.clean_probability[:, None, None] - self.probability,
            ],
            1,
        )


def occlude_batch(engine: Perturber, x: Tensor, filler: Tensor, places: OccluderGrid, wanted: Tensor) -> OcclusionMaps:
    """The three maps of one batch of images."""
    assert engine.clean.activity is not None
    units = engine.clean.activity.argmax(1)
    patches = [
        Patch(image, int(row), int(col), filler[image, :, row : row + places.size, col : col + places.size])
        for image in range(len(x))
        for row in places.rows
        for col in places.cols
    ]
    responses = engine.responses(patches, units)
    assert responses.activity is not None
    shape = (len(x), len(places.rows), len(places.cols))
    target = wanted.repeat_interleave(places.count)[:, None]
    probability = responses.scores.double().softmax(1).gather(1, target)[:, 0]
    clean = engine.clean.scores.double().softmax(1)
    return OcclusionMaps(
        responses.activity.cpu().reshape(shape),
        probability.cpu().reshape(shape),
        responses.scores.argmax(1).cpu().reshape(shape),
        engine.clean.activity.gather(1, units[:, None])[:, 0].cpu(),
        clean.gather(1, wanted[:, None])[:, 0].cpu(),
        clean.argmax(1).cpu(),
    )


def concatenate_maps(parts: Sequence[OcclusionMaps]) -> OcclusionMaps:
    return OcclusionMaps(*(torch.cat([getattr(part, name) for part in parts]) for name in OcclusionMaps.__dataclass_fields__))


def take_maps(maps: OcclusionMaps, rows: np.ndarray[Any, Any]) -> OcclusionMaps:
    """The maps of the images in these rows, in their order."""
    index = torch.from_numpy(rows)
    return OcclusionMaps(*(getattr(maps, name)[index] for name in OcclusionMaps.__dataclass_fields__))
