"""How much accuracy trained CIFAR networks lose when their images are changed: transformers against ResNets."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.replicate.claim import Effect, RunContext
from microtome.replicate.effects import jackknife_effect, number_rows
from microtome.replicate.material import labels_of, photographs, trained_network

Values = np.ndarray[Any, Any]
Change = Callable[[Tensor], Tensor]  # of images (image, rgb, row, col) from 0 to 1
TRANSFORMERS, RESNETS = ("cifar10_vit64", "cifar10_vit128_postnorm"), ("cifar10_resnet20", "cifar10_resnet56")


def enhance_contrast(factor: float) -> Change:
    """Distances from each image's mean colour, times a factor, cut to what an image can hold."""
    return lambda x: (x.mean((2, 3), keepdim=True) + factor * (x - x.mean((2, 3), keepdim=True))).clamp(0, 1)


def relative_losses(context: RunContext, changes: dict[str, Change], count: int) -> Effect:
    """1 − accuracy(changed)/accuracy(clean), mean over changes and networks: transformers minus ResNets."""
    right: dict[str, list[Values]] = {}
    for name in (*TRANSFORMERS, *RESNETS):
        specimen, images = trained_network(context, name), photographs(context, "cifar10_test", count)
        pixels = torch.from_numpy(images.inputs(specimen.recipe)).permute(0, 3, 1, 2).float() / 255
        labels = labels_of(images)
        mean, std = (torch.tensor(part)[:, None, None] for part in (specimen.recipe.mean, specimen.recipe.std))
        versions = [pixels, *(change(pixels) for change in changes.values())]
        answers = [torch.cat([specimen.run((x - mean) / std).argmax(1) for x in version.split(100)]) for version in versions]
        right[name] = [(answer.numpy() == labels).astype(float) for answer in answers]

    def loss(name: str, places: Values) -> float:
        clean, *changed = (answers[places].mean() for answers in right[name])
        return float(np.mean([1 - value / clean for value in changed]))

    def gap(places: Values) -> float:
        return float(np.mean([loss(name, places) for name in TRANSFORMERS]) - np.mean([loss(name, places) for name in RESNETS]))

    every = np.arange(len(right[TRANSFORMERS[0]][0]))
    rows = number_rows({name: loss(name, every) for name in right}, "fraction")
    return jackknife_effect(gap, len(every), "image", rows)
