"""The DenseNets for CIFAR have the parameters that the paper prints, from 0.8 M to 27.2 M.

Source: Huang et al. 2017, arXiv:1608.06993, table 2.
"""

from typing import final

import torch

from microtome import networks
from microtome.key_numbers import format_value
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.rules import Within

PUBLISHED = {  # (depth, growth, bottleneck and compression) -> millions of parameters
    (40, 12, False): 1.0, (100, 12, False): 7.0, (100, 24, False): 27.2,
    (100, 12, True): 0.8, (250, 24, True): 15.3, (190, 40, True): 25.6,
}  # fmt: skip


@final
class DensenetCifarParameters(Claim):
    """Parameters against the printed table."""

    study = "001"
    kind = "no training"
    hypothesis = (
        "Built by the paper's rules, each of the six networks has its printed number of parameters, to the last printed digit."
    )
    measure = "Largest difference between built and printed parameters over the six networks, in millions; exact."
    rule = Within(0, 0.05, "M parameters")
    null = "Some network differs by more than rounding to 0.1 M explains."
    confounders = "The builder is ours, written from the same paper."
    prior = "Known: our notes list the counts."
    mini = "the six networks, built without weights, ten classes"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        rows: list[tuple[str, str]] = []
        differences: list[float] = []
        for (depth, growth, dense), published in PUBLISHED.items():
            form = {"bottleneck": 4, "compression": 0.5} if dense else {}
            with torch.device("meta"):
                net = networks.build("densenet_cifar", 10, depth=depth, growth=growth, **form)
            count = sum(parameter.numel() for parameter in net.parameters())
            differences.append(abs(count / 1e6 - published))
            rows.append(
                (f"L = {depth}, k = {growth}{', BC' if dense else ''}", f"{count:,}; printed {format_value(published)} M")
            )
        return Effect.exact(max(differences), tuple(rows))
