"""Layers of the second and third dense block give least weight to what the transition before them puts out.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 5, third observation on figure 5.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.dense_weights import reuse_matrices
from microtome.replicate.effects import mean_effect
from microtome.replicate.rules import Below


@final
class DenseTransitionOutput(Claim):
    """Redundancy of the transition's output, which compression rests on."""

    study = "001"
    kind = "real weights"
    hypothesis = "The weight on the transition's output is below the mean weight on the other sources."
    measure = (
        "Mean over dense layers with at least two sources, in blocks 2 and 3, of mean |weight| times |γ| on the block's input over the "
        "mean of the other sources; interval over layers."
    )
    rule = Below(1.0)
    null = "The ratio is 1: the block's input is read like any other source."
    confounders = "With compression a transition puts out mixtures, not the maps themselves; |γ| belongs to the reader's norm."
    prior = "Mixed: the authors see it for DenseNet-40; a reader's replication (issue 53 of their repository) did not."
    mini = "a DenseNet-BC-100 (growth 12) trained on CIFAR-10 by others"
    full = "DenseNet-40 (growth 12), 300 epochs on CIFAR-10, as in the paper"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        rows = [row for matrix in reuse_matrices(context)[1:] for row in matrix.rows(inside=True)]
        rows = [row for row in rows if np.isfinite(row).sum() >= 2 and np.isfinite(row[0])]
        return mean_effect(np.array([row[0] / np.nanmean(row[1:]) for row in rows]), "dense layer")
