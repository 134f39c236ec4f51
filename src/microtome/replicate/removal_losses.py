"""Accuracy that is lost when single blocks are removed and nothing is trained or repaired afterwards."""

from typing import Any

import numpy as np

from microtome.edits.remove_blocks import RemoveBlocks
from microtome.images import Images
from microtome.replicate.material import right_answers
from microtome.specimen import Specimen

Values = np.ndarray[Any, Any]


def removal_losses(specimen: Specimen, images: Images, names: list[str], labels: Values | None = None) -> dict[str, Values]:
    """For each block by name: 1 for an image that only the whole network has right, -1 for one that only the remaining one has."""
    whole = right_answers(specimen, images, labels)
    return {name: whole - right_answers(RemoveBlocks(at=(name,), fill="identity")(specimen), images, labels) for name in names}


def removable(specimen: Specimen) -> list[str]:
    """The names of the blocks whose output has the shape of their input, in execution order."""
    return [block.name for block in specimen.blocks if block.keeps_shape]
