"""The effective receptive field of a trained convolutional network is a two-dimensional Gaussian.

Source: Kim et al. 2023, arXiv:2305.04722, table of Gaussian fits (published R² of 0.79 to 0.95 for ResNets).
"""

from typing import final

import numpy as np
import torch

from microtome.numerics.receptive.effective import fit_gaussian
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import jackknife_effect, number_rows
from microtome.replicate.material import inputs_of, photographs, trained_network
from microtome.replicate.rules import Above

LAYER, COUNT = "inception4e", 60


@final
class GaussianField(Claim):
    """Quality of the Gaussian fit on a network that the paper has not."""

    study = "003"
    kind = "real weights"
    hypothesis = "A Gaussian explains more than 0.785 of the field's variance, the smallest published value for a ResNet."
    measure = (
        "R² = 1 − var(residual)/var(field) of the least-squares Gaussian for the central unit's field, positive part, summed "
        "over images."
    )
    rule = Above(0.785)
    null = "The field is spiky, flat or cut by the image: a lower R²."
    confounders = (
        "The published R² forgives a constant. Few images leave noise in the field, which lowers it; the paper has 1,000."
    )
    prior = "Not known for this network."
    mini = "inception4e of BVLC GoogLeNet (14 × 14 positions), 60 ImageNet photographs; grouped jackknife over photographs"
    full = "the last stage of nine torchvision networks, 1,000 ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "googlenet_bvlc"), photographs(context, "imagenet200", COUNT)
        parts: list[torch.Tensor] = []
        for batch in inputs_of(specimen, images):
            for x in batch.split(10):
                entered = x.clone().requires_grad_()
                with torch.enable_grad():
                    value = self._layer(specimen, entered)
                    centre = value[:, :, value.shape[2] // 2, value.shape[3] // 2].mean(1)
                    (slope,) = torch.autograd.grad(centre.sum(), entered)
                parts.append(slope.mean(1).relu().double())
        fields = torch.cat(parts).numpy()

        def fit(places: np.ndarray) -> float:
            return fit_gaussian(fields[places].sum(0)).published_r2

        whole = fit_gaussian(fields.sum(0))
        rows = number_rows({"σ of rows, px": whole.sigma[0], "σ of columns, px": whole.sigma[1], "1 - SSE/SST": whole.r2})
        return jackknife_effect(fit, len(fields), "photograph", rows)

    @staticmethod
    def _layer(specimen: object, x: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        handle = specimen.net.get_submodule(LAYER).register_forward_hook(lambda _net, _given, value: kept.append(value))  # type: ignore[attr-defined]
        try:
            specimen.net(x)  # type: ignore[attr-defined]
        finally:
            handle.remove()
        return kept[0]
