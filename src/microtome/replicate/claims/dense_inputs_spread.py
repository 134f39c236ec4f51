"""The layers of a dense block spread their weights over all that they read, early maps included.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 5, first observation on figure 5.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.dense_weights import evenness, reuse_matrices
from microtome.replicate.effects import mean_effect
from microtome.replicate.rules import Above


@final
class DenseInputsSpread(Claim):
    """Feature reuse inside a block."""

    study = "001"
    kind = "real weights"
    hypothesis = (
        "A layer with at least four sources uses more than two thirds of them, counted by entropy, on average over layers."
    )
    measure = "Mean over dense layers of exp(entropy)/n of mean |weight| times |γ| by source; interval over layers."
    rule = Above(0.667, "fraction")
    null = "Layers read one or a few sources: far below one half."
    confounders = "Untrained weights are even too: evenness shows that reuse survives training, not that training makes it."
    prior = "Not known for this network; our notes say the observation is common. Two thirds is our threshold."
    mini = "a DenseNet-BC-100 (growth 12) trained on CIFAR-10 by others, 78% on JPEG copies"
    full = "DenseNet-40 (growth 12), 300 epochs on CIFAR-10, as in the paper"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        rows = [row for matrix in reuse_matrices(context) for row in matrix.rows(inside=True)]
        values = np.array([evenness(row) for row in rows if np.isfinite(row).sum() >= 4])
        return mean_effect(values, "dense layer")
