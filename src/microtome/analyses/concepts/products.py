"""Inner products of activations and of gradients at a layer: all that concept vectors and directional derivatives need."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.instruments.pooled_features import pool_positions
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen, tap, watch

MAX_FEATURES = 1 << 16  # of a flattened layer; wider ones are averaged over positions
Floats = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LayerProducts:
    """Inner products of the activations of all images (image, image); by class those of the gradients with them, and their lengths."""

    between: Floats
    gradients: dict[int, Floats]  # (image of the class, image)
    lengths: dict[int, Floats]  # (image of the class,)


def is_pooled(specimen: Specimen, name: str) -> bool:
    """Whether the layer is too wide to be flattened."""
    return prod(specimen.layer(name).shape) > MAX_FEATURES


def layer_products(
    specimen: Specimen, names: Sequence[str], sets: Sequence[Images], members: dict[int, Images], pace: Pace
) -> dict[str, LayerProducts]:
    """The products at each layer; images go in the order of `sets`, one after the other.

    The gradient of a pooled layer is that of moving all its positions at once, divided by their number.

    Raises:
        Unmeasurable: activations are not finite.
    """
    rows: dict[str, list[Floats]] = {name: [] for name in names}
    for images in sets:
        for batch in batches(specimen, images, pace):
            with (
                torch.no_grad(),
                watch(specimen, list(names), lambda name, value: rows[name].append(_flat(specimen, name, value))),
            ):
                specimen.net(batch.x)
            pace.listener(Step(f"{specimen.name}: concepts", int(batch.index[-1]) + 1, len(images), 0.0))
    features = {name: np.concatenate(parts).astype(np.float64) for name, parts in rows.items()}
    for name, values in features.items():
        if not np.isfinite(values).all():
            raise Unmeasurable(f"the features of {name} hold NaN or infinity, so no concept vector can be fitted there.")
    slopes = {index: class_gradients(specimen, names, images, index, pace) for index, images in members.items()}
    return {
        name: LayerProducts(
            features[name] @ features[name].T,
            {index: given[name] @ features[name].T for index, given in slopes.items()},
            {index: np.sqrt((given[name] ** 2).sum(1)) for index, given in slopes.items()},
        )
        for name in names
    }


def class_gradients(specimen: Specimen, names: Sequence[str], images: Images, index: int, pace: Pace) -> dict[str, Floats]:
    """The gradient of the score of a class by the values of each layer (image, feature), float64."""
    rows: dict[str, list[Floats]] = {name: [] for name in names}
    for batch in batches(specimen, images, pace):
        with torch.enable_grad(), tap(specimen, list(names)) as taps:
            given = taps.gradients(specimen.logits(batch.x)[:, index])
        for name, (_, slope) in given.items():
            rows[name].append(_flat(specimen, name, slope))
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in rows.items()}


def _flat(specimen: Specimen, name: str, value: Tensor) -> Floats:
    """Values as float32 (image, feature): flattened, or averaged over positions where that is too wide."""
    if is_pooled(specimen, name):
        return pool_positions(specimen, name, value.detach())
    return value.detach().flatten(1).float().cpu().numpy().copy()
