"""What patches of an image add to the target: an even grid of patches, each shown or grey, and a linear model fitted by captum."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from microtome.instruments.attribution.captum_methods import isolated_call
from microtome.instruments.attribution.image_seeds import image_seed
from microtome.instruments.attribution.kind_contract import LayerValues
from microtome.instruments.attribution.pixel_targets import PixelTargets

GRID = 7  # patches on each side of the image
SAMPLES = 512  # images with some patches shown and the others grey

Fit = Callable[[Callable[[Tensor], Tensor], Tensor, dict[str, Any]], Tensor]  # captum's method, an image, the rest of its call


def patch_numbers(rows: int, cols: int) -> Tensor:
    """The number of the patch that each pixel (1, 1, row, col) belongs to, of a grid that tiles the image as evenly as pixels allow."""
    down, across = min(GRID, rows), min(GRID, cols)
    row, col = torch.arange(rows) * down // rows, torch.arange(cols) * across // cols
    return (row[:, None] * across + col[None, :])[None, None]


def patch_maps(values: LayerValues, fit: Fit) -> list[Tensor]:
    """For each target the effect of every patch, spread evenly over its pixels so that a map sums to the effects (image, row, col)."""
    assert values.pixels is not None  # a kind of the pixels gets them
    x = values.activation
    numbers = patch_numbers(int(x.shape[2]), int(x.shape[3]))
    sizes = numbers.flatten().bincount()
    call = {
        "feature_mask": numbers, "baselines": 0.0, "n_samples": SAMPLES, "return_input_shape": False,
        "perturbations_per_eval": values.pixels.at_once(gradients=False),
    }  # fmt: skip
    maps: list[list[Tensor]] = [[] for _ in range(values.targets)]
    for place, image in enumerate(x):
        shown = _Remembered(values.pixels.for_images([place]))
        for target in range(values.targets):
            with isolated_call(image_seed(image)):
                shown.ask(target)
                effects = fit(shown, image[None].detach().cpu(), call)
            maps[target].append((effects.flatten() / sizes)[numbers[0, 0]])
    return [torch.stack(rows).to(x) for rows in maps]


class _Remembered:
    """Answers captum for one target after the other: the samples of an image are the same, so the network runs once for all."""

    def __init__(self, pixels: PixelTargets) -> None:
        self.pixels = pixels
        self.answers: list[Tensor] = []
        self.target, self.place = 0, 0

    def ask(self, target: int) -> None:
        self.target, self.place = target, 0

    def __call__(self, images: Tensor) -> Tensor:
        if self.place == len(self.answers):
            with torch.no_grad():
                self.answers.append(self.pixels.of_variants(images.to(self.pixels.x.device))[:, :, 0].cpu())
        answer = self.answers[self.place][self.target]
        self.place += 1
        return answer
