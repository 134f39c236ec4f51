"""The weight of each patch in a linear model near the image.

Patches of a 7 x 7 grid are shown or grey (the mean of the input recipe) in 512 samples, drawn from a seed that follows from the image.
Ridge regression with a penalty of 1 is fitted to them, each weighted by exp(-d² / 2σ²), where d is the cosine distance between the
patches shown and all of them, and σ 0.25, as in the authors' package. Weights are spread evenly over the pixels of their patch; they
need not sum to the target.

Source: Ribeiro et al. 2016, arXiv:1602.04938, sec. 3; computed by captum, whose own default (the lasso, with a penalty in the unit of the
target) leaves an empty map where scores are small.
"""

import importlib
from typing import Any, final

import torch
from torch import Tensor

from microtome.instruments.attribution.captum_methods import captum_methods
from microtome.instruments.attribution.kind_contract import LayerValues, PixelKind
from microtome.instruments.attribution.patch_effects import SAMPLES, patch_maps

WIDTH = 0.25  # of the kernel, in cosine distance
PENALTY = 1.0


@final
class Lime(PixelKind):
    """LIME."""

    title = "LIME"
    package = "captum"
    copies = SAMPLES // 3  # without gradients

    def maps(self, values: LayerValues) -> list[Tensor]:
        method = captum_methods(self.title).Lime
        ridge = importlib.import_module("captum._utils.models.linear_model").SkLearnRidge
        return patch_maps(
            values,
            lambda forward, image, call: method(
                forward, interpretable_model=ridge(alpha=PENALTY), similarity_func=nearness
            ).attribute(image, **call),
        )


def nearness(_image: Tensor, _sample: Tensor, shown: Tensor, **_: Any) -> float:
    """The weight of a sample in which the patches `shown` (1, patch) are 1 and the others 0."""
    distance = 1 - shown.double().mean().sqrt()  # the cosine of a vector of zeros and ones and one of ones is √mean
    return float(torch.exp(-(distance**2) / (2 * WIDTH**2)))
