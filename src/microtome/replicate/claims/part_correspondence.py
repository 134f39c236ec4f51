"""Covering the same part of objects of a class changes deep features more alike than covering random places.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 4.3 and table 1.
"""

from itertools import combinations
from typing import final

import numpy as np
import torch

from microtome.images import Images
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import repeated_effect
from microtome.replicate.material import labels_of, small_network
from microtome.replicate.rules import Above
from microtome.specimen.watching import watch

SIDE, COUNT = 12, 200


@final
class PartCorrespondence(Claim):
    """Implicit correspondence between objects of one class."""

    study = "002"
    kind = "small networks"
    hypothesis = (
        "Signs of the change of the last block's features differ less between images of a class for the same part than for "
        "random places."
    )
    measure = (
        "Mean Hamming distance of the signs of f(x) − f(x covered) between pairs of a class: random places minus the object's centre; "
        "Student's interval over the classes."
    )
    rule = Above(0.0, "fraction")
    null = "Both distances are the same."
    confounders = (
        "A weak change has more zeros and fewer opposite signs; the centre is covered by more object than a random place."
    )
    prior = "Not known. Scenes have no parts such as eyes, so the part is the object's centre."
    mini = "last block of mini_resnet, 200 fresh scenes of at least 10% area (seed 6011), grey squares of 12 of 64 px"
    full = "layer 5 of ZFNet on dogs with marked eyes and nose"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = small_network("mini_resnet"), Images.scenes(COUNT, seed=6011, area=(0.1, 0.4))
        masks, labels, random = images.masks(specimen.recipe), labels_of(images), np.random.default_rng(0)
        x = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe)))
        part, spot = x.clone(), x.clone()
        for place, mask in enumerate(masks):
            centre = np.clip(np.argwhere(mask).mean(0).round().astype(int) - SIDE // 2, 0, 64 - SIDE)
            for copy, (row, col) in ((part, centre), (spot, random.integers(0, 64 - SIDE, 2))):
                copy[place, :, row : row + SIDE, col : col + SIDE] = 0
        layer = specimen.blocks[-1].exit
        plain, covered, elsewhere = (self._features(specimen, layer, batch) for batch in (x, part, spot))
        signs = [(plain - other).sign().flatten(1).numpy() for other in (covered, elsewhere)]

        def distance(values: np.ndarray, label: int) -> float:
            chosen = values[labels == label]
            return float(
                np.mean([(chosen[first] != chosen[second]).mean() for first, second in combinations(range(len(chosen)), 2)])
            )

        return repeated_effect([distance(signs[1], label) - distance(signs[0], label) for label in np.unique(labels)], "class")

    @staticmethod
    def _features(specimen: object, layer: str, x: torch.Tensor) -> torch.Tensor:
        with watch(specimen, [layer]) as seen:  # type: ignore[arg-type]
            specimen.run(x)  # type: ignore[attr-defined]
        return seen[layer]
