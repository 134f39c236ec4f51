"""Real images that an exported network is tried on, and how far its outputs are from those of the network itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from microtome.images import Images
from microtome.specimen import Specimen
from microtome.specimen.outputs import output_tensors

TRIED = 6  # images


def sample_batch(specimen: Specimen, images: Images, places: np.ndarray[Any, Any]) -> Tensor:
    """A few of the images at these places as inputs (image, channel, row, col) on the CPU."""
    few = np.asarray(places)[:TRIED].tolist()
    return specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe, few)))


def batch_parts(x: Tensor, batch: int | None) -> list[Tensor]:
    """The images one by one where `batch` is 1, else one alone and then the others together."""
    return list(x.split(1)) if batch == 1 else [part for part in (x[:1], x[1:]) if len(part)]


def largest_difference(net: nn.Module, other: Callable[[Tensor], Any], parts: Sequence[Tensor]) -> float:
    """The largest difference of an output, as a fraction of the network's largest; infinite where outputs have other shapes."""
    largest = 0.0
    with torch.no_grad():
        for x in parts:
            wanted, given = output_tensors(net(x)), output_tensors(other(x))
            if [value.shape for value in wanted] != [value.shape for value in given]:
                return float("inf")
            for own, its in zip(wanted, given, strict=True):
                scale = max(float(own.abs().max()), 1e-12)
                largest = max(largest, float((own.double() - its.double()).abs().max()) / scale)
    return largest
