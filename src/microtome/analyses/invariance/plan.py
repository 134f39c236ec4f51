"""What of one network is looked at under warps: the layers, the views, the class whose probability is reported, the amounts."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from microtome.analyses.invariance.warps import WARPS, Warp
from microtome.errors import BadOption, Unmeasurable
from microtome.images import Images
from microtome.instruments.class_matching import match_classes
from microtome.numerics.receptive.geometry import Where
from microtome.specimen import Specimen

CLASS_SCORES = "output"  # what the network answers, as the last layer
MAX_AMOUNTS = 200  # amounts of one warp


@dataclass(frozen=True)
class WarpPlan:
    """What is measured. `views` is every warp and amount that changes something; `amounts` also holds what changes nothing.

    `strides` is how many px apart the positions of each layer lie (0: no grid, or none with a whole stride below half the side).
    `target` (image,) is the output whose probability is reported, -1 the predicted one; `description` says which that is.
    """

    names: tuple[str, ...]
    strides: tuple[int, ...]
    views: tuple[tuple[Warp, float], ...]
    amounts: Mapping[Warp, tuple[float, ...]]
    size: tuple[int, int]
    target: np.ndarray[Any, Any]
    description: str

    def steps(self, place: int) -> tuple[int, ...]:
        """(1 px, half a stride, one stride) of the layer at that place, in px; nothing for a stride of 0."""
        stride = self.strides[place]
        return (1, max(stride // 2, 1), stride) if stride else ()


def grid_stride(where: Where | None, side: int) -> int:
    """How many px apart the positions of a grid lie; 0 where that is no whole number, or half of the side and more.

    Where an operation on the way is not followed, positions that divide the side evenly are taken to tile it.
    """
    if where is None:
        return 0
    jump = where.row.jump if where.exact else side / where.row.count
    return int(jump) if jump == int(jump) and jump < side / 2 else 0


def target_outputs(specimen: Specimen, images: Images) -> tuple[np.ndarray[Any, Any], str]:
    """The output whose probability is reported for each image (-1: the predicted one), and in words which that is."""
    unknown = np.full(len(images), -1, dtype=np.int64)
    if images.labels is None or specimen.outputs is None:
        return unknown, "the predicted class"
    try:
        wanted = match_classes(specimen, images, specimen.outputs).targets(images.labels)
    except Unmeasurable:  # the name of the class says so
        return unknown, "the predicted class"
    return wanted, "the true class" + (" (the predicted one where there is no label)" if (wanted < 0).any() else "")


def is_comparable(specimen: Specimen, name: str) -> bool:
    """Whether the layer gives one map, row of tokens, or vector for each image."""
    layer = specimen.layer(name)
    return layer.layout in ("nchw", "nhwc", "vector") or (layer.layout == "tokens" and layer.grid is not None)


def parse_numbers(option: str, given: Iterable[str], low: float, high: float) -> list[float]:
    """Numbers written one by one or as first:last:step, ascending.

    Raises:
        BadOption: something is not a number, lies outside `low` to `high`, or there are too many.
    """
    numbers: set[float] = set()
    for text in given:
        try:
            parts = [float(part) for part in text.split(":")]
            first, last, step = parts if len(parts) == 3 else (parts[0], parts[-1], 1.0)
            if len(parts) not in (1, 3) or not all(map(math.isfinite, parts)):
                raise ValueError(text)
            if not step > 0 or last < first or (last - first) / step > MAX_AMOUNTS:
                raise ValueError(text)
        except ValueError:
            raise BadOption(
                f"invariance: option {option} has '{text}'; give numbers, or first:last:step such as -16:16:4 "
                f"(at most {MAX_AMOUNTS} steps)."
            ) from None
        numbers |= {round(first + place * step, 9) for place in range(int((last - first) / step + 1e-9) + 1)}
    if outside := [number for number in sorted(numbers) if not low <= number <= high]:
        raise BadOption(f"invariance: option {option} has {outside[0]:g}; here it takes {low:g} to {high:g}.")
    return sorted(numbers)


def powers_of_two(most: float) -> list[float]:
    """1, 2, 4, … up to `most`; at least the 1."""
    return [float(2**power) for power in range(max(int(most), 1).bit_length())]


def with_identity(warp: Warp, amounts: Iterable[float]) -> tuple[float, ...]:
    """The amounts in ascending order, with the one that changes nothing among them."""
    return tuple(sorted({*amounts, WARPS[warp][1]}))
