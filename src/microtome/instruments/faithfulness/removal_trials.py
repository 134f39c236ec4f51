"""The probability of a class as the pixels of an image go, or come back, in the order of a map.

Deletion replaces the first pixels of the order by a fill, insertion puts them into an image that is all fill. Both use the same fill: then
each is the other in the opposite order, and insertion minus deletion is zero on average for a random order, whatever the fill does to the
network. In ROAD the removed pixels are imputed from their neighbours, once in the order of the map and once in the opposite
order. For the average drop the image is seen through the map.

Source: deletion and insertion, Petsiuk et al. 2018, arXiv:1806.07421, sec. 4.2; average drop and increase in confidence, Chattopadhyay
et al. 2018, arXiv:1710.11063, sec. 4.1 (there what the map hides is black, here it is the fill); ROAD, Rong et al. 2022,
arXiv:2202.00449. That both curves share one fill is ours: published are two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from microtome.batch_size import fitting_batch
from microtome.instruments.fills import fill_images
from microtome.instruments.perturbation.tape import memory_layout
from microtome.numerics.maps.imputation import noisy_linear_imputation
from microtome.numerics.maps.removal import area_under, first_pixels, removal_order
from microtome.specimen import Specimen

AT_ONCE = 32  # changed images that run at once, where memory allows
PATCHES = 28  # along the shorter side, where no size is given
BLUR = 4  # the blur's standard deviation is a third of the shorter side over this
ROAD_FRACTIONS = (0.2, 0.5, 0.8)
Fill = Literal["mean", "grey", "blur"]
Floats = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RemovalPlan:
    """How pixels are removed: in how many steps, in patches of which side (px), and by what they are replaced."""

    steps: int = 10
    patch: int = 8
    fill: Fill = "blur"
    seed: int = 0
    memory: float | None = None

    @property
    def fractions(self) -> Floats:
        """The fractions of the pixels that are removed, from 0 to 1."""
        return np.arange(self.steps + 1) / self.steps


def patch_side(size: tuple[int, int], given: int = 0) -> int:
    """The side of the patches that are removed, px: as given, or so that 28 of them lie along the shorter side."""
    return given or max(1, round(min(size) / PATCHES))


@dataclass(frozen=True, eq=False)
class Canvas:
    """A batch of images with the class that is asked about, what replaces their pixels, and the probabilities of both ends."""

    specimen: Specimen
    plan: RemovalPlan
    x: Tensor
    classes: Tensor
    blank: Tensor  # what stands in place of removed pixels
    ends: Floats  # (image, 2): the probabilities of the image, and of all fill

    @classmethod
    def prepare(cls, specimen: Specimen, x: Tensor, classes: Tensor, plan: RemovalPlan) -> "Canvas":
        """The canvas of these images."""
        size = min(int(x.shape[2]), int(x.shape[3])) // BLUR
        bare = cls(specimen, plan, x, classes, fill_images(specimen, x, plan.fill, size), np.zeros((len(x), 2)))
        return replace(bare, ends=bare.probabilities([x, bare.blank]))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.x.shape[2]), int(self.x.shape[3])

    def probabilities(self, variants: Sequence[Tensor]) -> Floats:
        """The probability of each image's class for changed versions of all images: (image, variant)."""
        many = max(1, fitting_batch(self.specimen, AT_ONCE, self.plan.memory) // len(self.x))
        columns: list[Floats] = []
        for start in range(0, len(variants), many):
            part = variants[start : start + many]
            # a copy of its own: a network may overwrite what it is given
            images = torch.cat([each.expand_as(self.x) for each in part]).contiguous(memory_format=memory_layout(self.x))
            with torch.no_grad():
                chance = self.specimen.logits(images).double().softmax(1)
            wanted = self.classes.repeat(len(part))[:, None]
            columns.append(chance.gather(1, wanted)[:, 0].view(len(part), -1).T.cpu().numpy())
        return np.concatenate(columns, 1)

    def order(self, heat: Tensor) -> Tensor:
        """The order in which a map removes pixels (image, pixel)."""
        return removal_order(heat, self.plan.patch, self.plan.seed)


def removal_curves(canvas: Canvas, order: Tensor) -> tuple[Floats, Floats]:
    """The probability (image, fraction) as the pixels are deleted in this order, and as they are inserted."""
    first = [first_pixels(order, float(fraction), canvas.size)[:, None] for fraction in canvas.plan.fractions[1:-1]]
    deleted = canvas.probabilities([torch.where(gone, canvas.blank, canvas.x) for gone in first])
    inserted = canvas.probabilities([torch.where(there, canvas.x, canvas.blank) for there in first])
    clean, blank = canvas.ends[:, :1], canvas.ends[:, 1:]
    return np.concatenate([clean, deleted, blank], 1), np.concatenate([blank, inserted, clean], 1)


def curve_areas(canvas: Canvas, curves: tuple[Floats, Floats]) -> dict[str, Floats]:
    """The areas `deletion` and `insertion` (image,), and `score`: insertion minus deletion, between -1 and 1."""
    deletion, insertion = (area_under(curve, canvas.plan.fractions) for curve in curves)
    return {"deletion": deletion, "insertion": insertion, "score": insertion - deletion}


def road_scores(canvas: Canvas, order: Tensor) -> Floats:
    """ROAD (image,): the mean probability with the least relevant pixels imputed, minus that with the most relevant ones imputed."""
    most, least = (
        canvas.probabilities([_imputed(canvas, way, fraction) for fraction in ROAD_FRACTIONS]) for way in (order, order.flip(1))
    )
    return (least - most).mean(1)


def _imputed(canvas: Canvas, order: Tensor, fraction: float) -> Tensor:
    return noisy_linear_imputation(canvas.x, first_pixels(order, fraction, canvas.size), canvas.plan.seed)


def confidence_through(canvas: Canvas, heat: Tensor) -> dict[str, Floats]:
    """`drop` (image,): the fraction of the probability that is lost when an image is seen through its map; `increase`: whether it rises.

    The positive part of the map over its largest value says how much of each pixel is seen.
    """
    seen = heat.relu()
    largest = seen.flatten(1).amax(1)[:, None, None]
    part = (seen / largest.where(largest > 0, 1.0))[:, None].to(canvas.x)
    through = canvas.probabilities([part * canvas.x + (1 - part) * canvas.blank])[:, 0]
    clean = canvas.ends[:, 0]
    return {"drop": np.maximum(clean - through, 0.0) / clean, "increase": (through > clean).astype(np.float64)}
