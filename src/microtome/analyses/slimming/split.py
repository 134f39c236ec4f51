"""The images in two parts: one to choose and repair by, the other to report on; and both as batches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.prose import plural
from microtome.scan import Pace, batches
from microtome.specimen import Specimen
from microtome.specimen.tracing import input_layout

LEAST = 20  # images in either part
Integers = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ImagePart:
    """Batches of inputs (image, channel, row, col) and what is right for each image: a class of the network, or of the images."""

    batches: tuple[Tensor, ...]
    wanted: Integers

    def __len__(self) -> int:
        return len(self.wanted)


def split_places(images: Images, calibration: float, count: int, seed: int) -> tuple[Integers, Integers]:
    """Places of the images for repair and choice, and of those that are reported on; every class in proportion, labels known.

    Raises:
        Unmeasurable: a part would have fewer than `LEAST` images.
    """
    labels = images.labels
    assert labels is not None  # refused before
    order = images.content_order()  # so that the parts do not depend on the names of files
    known = order[labels[order] >= 0]
    by_class = _shuffled_classes(known, labels, np.random.default_rng(seed))
    taken = by_class if len(by_class) <= count else by_class[np.linspace(0, len(by_class) - 1, count).round().astype(int)]
    marks = _marks(len(taken), calibration)
    chosen, reported = np.sort(taken[marks]), np.sort(taken[~marks])
    if min(len(chosen), len(reported)) < LEAST:
        raise Unmeasurable(
            f"slimming needs {LEAST} labelled images to repair and choose by and {LEAST} more to report on; here are "
            f"{plural(len(taken), 'labelled image')}, of which calibration={calibration:g} takes {len(chosen)}."
        )
    return chosen, reported


def split_by_class(places: Integers, labels: Integers, fraction: float, seed: int) -> tuple[Integers, Integers]:
    """Two parts of these places, of which the second has that fraction; every class in proportion.

    Raises:
        Unmeasurable: a part would have fewer than `LEAST` images.
    """
    by_class = _shuffled_classes(places, labels, np.random.default_rng([seed, 1]))
    marks = _marks(len(by_class), fraction)
    first, second = np.sort(by_class[~marks]), np.sort(by_class[marks])
    if min(len(first), len(second)) < LEAST:
        raise Unmeasurable(
            f"slimming needs {LEAST} labelled images to repair by and {LEAST} more to choose by; here are {len(first)} and {len(second)}."
        )
    return first, second


def _shuffled_classes(places: Integers, labels: Integers, random: np.random.Generator) -> Integers:
    """The places class after class, in random order within each."""
    shuffled = places[random.permutation(len(places))]
    return shuffled[np.argsort(labels[shuffled], kind="stable")]


def _marks(count: int, fraction: float) -> Integers:
    """That fraction of so many in a row, evenly spread."""
    return (np.arange(count) * fraction) % 1 + fraction > 1 - 1e-9


def image_part(specimen: Specimen, images: Images, places: Integers, wanted: Integers, pace: Pace) -> ImagePart:
    """The images at these places, in this order; `wanted` (image,) is over all images."""
    layout = input_layout(specimen.net)
    parts = [batch.x.contiguous(memory_format=layout) for batch in batches(specimen, images.take(places.tolist()), pace)]
    return ImagePart(tuple(parts), wanted[places])


def concatenate_batches(parts: list[Tensor]) -> Tensor:
    """Batches of values as one tensor on the CPU."""
    return torch.cat([part.detach().float().cpu() for part in parts])
