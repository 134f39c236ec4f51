"""Covering the object makes the class improbable, covering the background does not: the network locates the object.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 4.2 and figure 7.
"""

from typing import final

import numpy as np
import torch

from microtome.images import Images
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import labels_of, small_network
from microtome.replicate.rules import Above

SIDE, COUNT = 16, 200


@final
class OccludedObject(Claim):
    """A grey square on the object against one beside it."""

    study = "002"
    kind = "small networks"
    hypothesis = (
        "The probability of the true class falls more where the square covers the object's centre than where it covers none "
        "of it."
    )
    measure = "Probability lost on the object minus probability lost beside it, mean over scenes in which both places exist."
    rule = Above(0.1, "fraction")
    null = "Both places lose the same: the context decides."
    confounders = (
        "A square on a small object hides all of it. Backgrounds of scenes carry no hint of the class, unlike photographs'."
    )
    prior = "Expected; objects in scenes are the only cue. A tenth is our threshold."
    mini = "mini_vgg on 200 fresh scenes (seed 6007), a grey square of 16 of 64 px; interval over scenes"
    full = "ZFNet on ImageNet validation images with boxes, square of 50 px"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = small_network("mini_vgg"), Images.scenes(COUNT, seed=6007)
        masks, labels = images.masks(specimen.recipe), labels_of(images)
        x = specimen.recipe.normalise(torch.from_numpy(images.inputs(specimen.recipe)))
        random = np.random.default_rng(0)
        on, beside, kept = x.clone(), x.clone(), list[int]()
        free = np.stack([_window_sums(mask) == 0 for mask in masks])
        for place, mask in enumerate(masks):
            spots = np.argwhere(free[place])
            if not len(spots) or not mask.any():
                continue
            centre = np.clip(np.argwhere(mask).mean(0).round().astype(int) - SIDE // 2, 0, 64 - SIDE)
            for copy, (row, col) in ((on, centre), (beside, spots[random.integers(len(spots))])):
                copy[place, :, row : row + SIDE, col : col + SIDE] = 0
            kept.append(place)
        truth = torch.from_numpy(labels)[:, None]
        plain, covered, other = (
            specimen.run(batch).softmax(1).gather(1, truth)[kept, 0].double().numpy() for batch in (x, on, beside)
        )
        rows = number_rows({"plain": plain.mean(), "on the object": covered.mean(), "beside it": other.mean()}, "fraction")
        return mean_effect(other - covered, "scene", rows)


def _window_sums(mask: np.ndarray) -> np.ndarray:
    sums = np.pad(mask.astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[SIDE:, SIDE:] - sums[:-SIDE, SIDE:] - sums[SIDE:, :-SIDE] + sums[:-SIDE, :-SIDE]
