"""Transition layers too spread their weights over all layers of the block before them.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 5, second observation on figure 5.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.dense_weights import evenness, reuse_matrices
from microtome.replicate.effects import repeated_effect
from microtome.replicate.rules import Above


@final
class DenseTransitionsSpread(Claim):
    """Information flows from the first layers of a block to the last in few hops."""

    study = "001"
    kind = "real weights"
    hypothesis = "A transition uses more than two thirds of its sources, counted by entropy."
    measure = (
        "Mean over both transitions of exp(entropy)/n of mean |weight| times |γ| by source; Student's interval over the two."
    )
    rule = Above(0.667, "fraction")
    null = "Transitions read a few layers alone."
    confounders = "There are two transitions only, so the interval is wide. Untrained weights are even too."
    prior = "Not known for this network."
    mini = "a DenseNet-BC-100 (growth 12) trained on CIFAR-10 by others"
    full = "DenseNet-40 (growth 12), 300 epochs on CIFAR-10, as in the paper"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        rows = [row for matrix in reuse_matrices(context)[:2] for row in matrix.rows(inside=False)]
        values = [evenness(row) for row in rows]
        return repeated_effect(values, "transition", tuple(("evenness", f"{np.round(value, 3)}") for value in values))
