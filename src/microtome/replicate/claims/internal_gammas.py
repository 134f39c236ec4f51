"""Gammas of batch norm fall into categories by their place, and shrinking most of them changes nothing that the network computes.

Source: Kim et al. 2022, arXiv:2205.07260 (categories of gammas); counts by scale invariance: ours.
"""

from typing import final

from torch import nn

from microtome.instruments.norm_roles import norm_roles
from microtome.instruments.scale_invariance import scale_invariance
from microtome.opening.opening import open as open_specimen
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Above


@final
class InternalGammas(Claim):
    """Fraction of norms whose scale the next layers undo."""

    study = "003"
    kind = "no training"
    hypothesis = (
        "In each of three ResNets at least a third of the gammas are internal: scaling them with their beta changes no output."
    )
    measure = "Smallest fraction of internal gammas over ResNet-18, ResNet-50 and pre-activation ResNet-50; exact, by scaling each by 3."
    rule = Above(0.333, "fraction")
    null = "Every gamma has a say in the function."
    confounders = "Norms in training mode and without epsilon; at test time stored statistics do not follow."
    prior = "Known: 8 of 20, 33 of 53 and 28 of 49 by our notes."
    mini = "the three networks with random weights, 64 px"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        fractions: list[float] = []
        rows: list[tuple[str, str]] = []
        for name in ("resnet18", "resnet50", "resnetv2_50"):
            net = open_specimen(f"timm:{name}", weights=None, recipe={"size": 64, "crop": 1.0})
            roles = norm_roles(net, scale_invariance(net.net, net.recipe))
            total = sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in net.net.modules())  # pyright: ignore
            internal = sum(role == "internal" for role in roles.values())
            fractions.append(internal / total)
            rows.append((name, f"{internal} of {total}"))
        return Effect.exact(min(fractions), tuple(rows))
