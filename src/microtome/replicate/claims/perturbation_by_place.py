"""How far one changed pixel moves the answer depends on where it lies: as far as the effective field is strong there.

Source: Kim et al. 2021, arXiv:2108.13576, theorem 1 and its test (R² = 0.75 on 25 pixels).
"""

from typing import final

import numpy as np
import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import correlation_effect
from microtome.replicate.material import inputs_of, labels_of, photographs, trained_network
from microtome.replicate.rules import Above

STEP, PIXELS = 0.1, range(11, 21)


@final
class PerturbationByPlace(Claim):
    """Measured perturbations against the output's effective receptive field."""

    study = "003"
    kind = "real weights"
    hypothesis = (
        "Over pixels, the mean change of the true class's score and the effective field correlate with at least 0.7 by rank."
    )
    measure = "Spearman's correlation over 100 central pixels of mean |Δscore| for +0.1 in all colours and the summed positive gradient."
    rule = Above(0.7)
    null = "The change does not depend on the place."
    confounders = "Both use the same images. The field keeps positive gradients only, the change counts both signs."
    prior = "Not known for this network; published as R² = 0.75, a correlation of 0.87, for others."
    mini = "ResNet-20 trained on CIFAR-10 by others, 100 test images; Fisher's interval over pixels, which are neighbours"
    full = "ResNet-50, 101 and their wide forms on Pets at 224 px, before and after kernel padding"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet20"), photographs(context, "cifar10_test", 100)
        truth, x = torch.from_numpy(labels_of(images)), torch.cat(list(inputs_of(specimen, images)))
        entered = x.clone().requires_grad_()
        with torch.enable_grad():
            scores = specimen.answer(entered).gather(1, truth[:, None])[:, 0]
            (slope,) = torch.autograd.grad(scores.sum(), entered)
        field = slope.mean(1).relu().sum(0).double()
        moved: list[float] = []
        for row in PIXELS:
            for col in PIXELS:
                changed = x.clone()
                changed[:, :, row, col] += STEP
                other = specimen.run(changed).gather(1, truth[:, None])[:, 0]
                moved.append(float((other - scores.detach()).abs().mean()))
        strength = field[PIXELS.start : PIXELS.stop, PIXELS.start : PIXELS.stop].flatten().numpy()
        return correlation_effect(np.array(moved), strength, "pixel")
