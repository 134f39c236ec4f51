"""Grad-CAM++ does not become the class activation map where that is defined: its weights leave evidence against the class out.

Source: Kim et al. 2020, arXiv:2001.05153 (unnatural terms in earlier derivations); the closed form: ours.
"""

from typing import final

import torch

from microtome.instruments.attribution.kinds.gradcam_plus_plus import GradCamPlusPlus
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows, repeated_effect
from microtome.replicate.rules import Below


@final
class GradcamPlusPlusTerms(Claim):
    """Agreement of both maps on a pooled linear head."""

    study = "003"
    kind = "no training"
    hypothesis = "On a head of global pooling and a linear layer the two maps correlate with less than 0.95."
    measure = (
        "Pearson's correlation between the maps of Grad-CAM++ and CAM, mean over draws of non-negative maps and weights of "
        "either sign."
    )
    rule = Below(0.95)
    null = "The maps are the same up to a factor: a correlation of 1, as for Grad-CAM."
    confounders = "Random maps have no structure; where all weights are positive the maps come near each other."
    prior = "Known in closed form: the weights are relu(w)/(2 + w·mean(A)). The correlation was not computed before."
    mini = "50 draws of 64 maps of 7 × 7 positions; Student's interval over draws"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        generator = torch.Generator().manual_seed(4)
        values: dict[str, list[float]] = {"Grad-CAM++": [], "Grad-CAM": []}
        for _ in range(50):
            maps = torch.randn(1, 64, 7, 7, generator=generator).relu()
            weight = torch.randn(64, generator=generator)
            gradient = (weight / 49)[None, :, None, None].expand_as(maps)
            cam = torch.einsum("c,bchw->bhw", weight, maps).flatten()
            plus = GradCamPlusPlus().signed_map(maps, gradient).flatten()
            grad = torch.einsum("bc,bchw->bhw", gradient.mean((2, 3)), maps).flatten()
            for name, other in (("Grad-CAM++", plus), ("Grad-CAM", grad)):
                values[name].append(float(torch.corrcoef(torch.stack([cam, other]))[0, 1]))
        rows = number_rows({"Grad-CAM against CAM": sum(values["Grad-CAM"]) / 50})
        return repeated_effect(values["Grad-CAM++"], "draw", rows)
