"""The effective field of a vision transformer's patch is plus-shaped, and that comes from its positional embedding.

Source: Kim et al. 2023, arXiv:2305.04722, sec. 3 (re-initialised positional embeddings).
"""

from typing import Any, final

import numpy as np
import torch

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.material import inputs_of, photographs, trained_network
from microtome.replicate.rules import Above
from microtome.specimen.copying import copy_network

PATCH, GRID = 4, 8


@final
class PositionalPlus(Claim):
    """Neighbours of the central patch, with and without learnt positions."""

    study = "003"
    kind = "real weights"
    hypothesis = (
        "The four neighbours' strength over that of all other patches is larger with the learnt positions than with fresh ones."
    )
    measure = "Logarithm of that ratio, learnt minus fresh positional embedding (normal, σ = 0.02), mean over images."
    rule = Above(0.0, "nats")
    null = "Fresh positions give the same ratio: near patches matter because images are smooth."
    confounders = "A network whose positions are redrawn is another network, which never saw such tokens."
    prior = "Not known for this network."
    mini = "a ViT of width 64 trained on CIFAR-10 by others, 200 test images, one draw; interval over images"
    full = "DeiT-S and ViT-B/16 on 1,000 ImageNet validation images"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_vit64"), photographs(context, "cifar10_test", 200)
        x = torch.cat(list(inputs_of(specimen, images)))
        fresh: Any = copy_network(specimen.net)
        with torch.no_grad():
            fresh.pos_embed.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
        ratios = {name: self._ratio(net, x) for name, net in (("learnt", specimen.net), ("fresh", fresh))}
        rows = number_rows({name: float(np.exp(values.mean())) for name, values in ratios.items()})
        return mean_effect(ratios["learnt"] - ratios["fresh"], "image", rows)

    @staticmethod
    def _ratio(net: Any, x: torch.Tensor) -> np.ndarray:
        entered = x.clone().requires_grad_()
        with torch.enable_grad():
            tokens = net.forward_features(entered)[:, net.num_prefix_tokens :]
            centre = GRID // 2 * GRID + GRID // 2 - GRID - 1
            (slope,) = torch.autograd.grad(tokens[:, centre].mean(1).sum(), entered)
        power = slope.mean(1).relu().unflatten(1, (GRID, PATCH)).unflatten(3, (GRID, PATCH)).sum((2, 4)).double()
        row, col = divmod(centre, GRID)
        near = (power[:, row - 1, col] + power[:, row + 1, col] + power[:, row, col - 1] + power[:, row, col + 1]) / 4
        far = (power.sum((1, 2)) - power[:, row, col] - 4 * near) / (GRID * GRID - 5)
        return (near.clamp_min(1e-30) / far.clamp_min(1e-30)).log().numpy()
