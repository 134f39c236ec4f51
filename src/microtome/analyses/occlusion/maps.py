"""What a network says of pictures that a square covers in part, place by place: the maps of one batch of pictures."""

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
    """Where the squares go: first rows and cols, and the side, in px."""

    rows: np.ndarray[Any, Any]
    cols: np.ndarray[Any, Any]
    size: int

    @property
    def count(self) -> int:
        return len(self.rows) * len(self.cols)


@dataclass
class OcclusionMaps:
    """What one network said of a few images: maps (image, row, col) and the same of the uncovered pictures (image,)."""

    activity: Tensor
    probability: Tensor
    label: Tensor
    clean_activity: Tensor
    clean_probability: Tensor
    clean_label: Tensor

    def losses(self) -> Tensor:
        """(image, measure, row, col): the activity lost, as a share of the uncovered one's size, and the probability lost."""
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
    found = engine.responses(patches, units)
    assert found.activity is not None
    shape = (len(x), len(places.rows), len(places.cols))
    asked = wanted.repeat_interleave(places.count)[:, None]
    chance = found.scores.double().softmax(1).gather(1, asked)[:, 0]
    clean = engine.clean.scores.double().softmax(1)
    return OcclusionMaps(
        found.activity.cpu().reshape(shape),
        chance.cpu().reshape(shape),
        found.scores.argmax(1).cpu().reshape(shape),
        engine.clean.activity.gather(1, units[:, None])[:, 0].cpu(),
        clean.gather(1, wanted[:, None])[:, 0].cpu(),
        clean.argmax(1).cpu(),
    )


def concatenate_maps(parts: Sequence[OcclusionMaps]) -> OcclusionMaps:
    return OcclusionMaps(*(torch.cat([getattr(one, name) for one in parts]) for name in OcclusionMaps.__dataclass_fields__))
