"""A small gamma in the last batch norm of a residual branch makes the block near the identity.

Source: Kim et al. 2022, arXiv:2205.07260 (variance control by the last gamma).
"""

from typing import cast, final

import numpy as np
import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import correlation_effect
from microtome.replicate.material import inputs_of, photographs, trained_network
from microtome.replicate.rules import Above
from microtome.specimen.watching import watch


@final
class LastGammaInfluence(Claim):
    """Size of the last gamma against block influence, over blocks of a trained network."""

    study = "003"
    kind = "real weights"
    hypothesis = "Blocks with a larger last gamma change their input more."
    measure = (
        "Spearman's correlation over blocks of equal shapes between the root mean square of the last gamma and 1 − cos(input, "
        "output)."
    )
    rule = Above(0.0)
    null = "No correlation: the size of the stream decides alone."
    confounders = "The stream grows with depth, so that the same branch weighs less later; shifts (beta) add to the branch."
    prior = "Not known for this network."
    mini = "25 blocks of a ResNet-56 trained on CIFAR-10 by others, 200 test images; Fisher's interval over blocks"
    full = "ResNet-50 and ResNet-101 on ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "cifar10_test", 200)
        blocks = [block for block in specimen.blocks if block.keeps_shape]
        norms = [cast(torch.nn.BatchNorm2d, specimen.net.get_submodule(f"{block.name}.bn2")) for block in blocks]
        gammas = [float(norm.weight.detach().square().mean().sqrt()) for norm in norms]
        names = [name for block in blocks for name in (f"<{block.entry}", block.exit)]
        parts: list[torch.Tensor] = []
        for x in inputs_of(specimen, images):
            with watch(specimen, names) as seen:
                specimen.run(x)
            pairs = [(seen[f"<{block.entry}"].flatten(1), seen[block.exit].flatten(1)) for block in blocks]
            parts.append(torch.stack([1 - torch.cosine_similarity(before, after) for before, after in pairs], 1))
        return correlation_effect(np.array(gammas), torch.cat(parts).mean(0).double().numpy(), "block")
