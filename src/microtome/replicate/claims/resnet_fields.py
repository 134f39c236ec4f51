"""The theoretical receptive fields of ResNet-18, 34, 50, 101 and 152 are 435, 899, 427, 971 and 1451 px.

Source: Kim et al. 2023, arXiv:2305.04722, table of theoretical receptive fields and effective ones.
"""

import importlib
from typing import final

import torch

from microtome._torchvision import timm
from microtome.numerics.receptive.field import ReachMode, expand_parts, field_of
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Within

PUBLISHED = {"resnet18": 435, "resnet34": 899, "resnet50": 427, "resnet101": 971, "resnet152": 1451}
SIZE = (64, 64)


@final
class ResnetFields(Claim):
    """Largest fields along the longest path."""

    study = "003"
    kind = "no training"
    hypothesis = "Followed operation by operation, the last stage of each network has the printed field."
    measure = "Largest difference between the field of the last stage and the printed one, px; exact."
    rule = Within(0, 0, "px")
    null = "Some network has another field."
    confounders = (
        "timm's ResNets keep the stride in the 3 × 3 convolution of a bottleneck, as torchvision's do; the field depends on "
        "that."
    )
    prior = "Known: held by the tests of the analysis receptive_field."
    mini = "the five networks, without weights"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        timm()
        family = importlib.import_module("timm.models.resnet")
        rows: list[tuple[str, str]] = []
        differences: list[float] = []
        for name, published in PUBLISHED.items():
            with torch.device("meta"):
                net, x = getattr(family, name)().eval(), torch.zeros(1, 3, *SIZE)
            reach, kept = ReachMode(x), list[tuple[torch.Size, object]]()
            net.layer4.register_forward_hook(
                lambda _net, _given, value, kept=kept, reach=reach: kept.append((value.shape, reach.of(value)))
            )
            with torch.no_grad(), reach:
                net(x)
            shape, (shade, where) = kept[0][0], kept[0][1]  # type: ignore[misc]
            pixels = field_of(expand_parts(shade, shape), shade, where, SIZE).size[0]
            differences.append(abs(pixels - published))
            rows.append((name, f"{pixels} px; printed {published} px"))
        return Effect.exact(max(differences), tuple(rows))
