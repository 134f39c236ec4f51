"""The classifier of a DenseNet leans on the maps that its last layers make.

Source: Huang et al. 2017, arXiv:1608.06993, sec. 5, fourth observation on figure 5.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.dense_weights import reuse_matrices
from microtome.replicate.effects import correlation_effect
from microtome.replicate.rules import Above


@final
class DenseClassifierLate(Claim):
    """High-level features are made late."""

    study = "001"
    kind = "real weights"
    hypothesis = "The classifier's weight on a source rises with the source's place in the last block."
    measure = "Spearman's correlation between place and mean |weight| times |γ| of the classifier, over the sources of block 3."
    rule = Above(0.0)
    null = "No correlation."
    confounders = "Late maps may have another scale than early ones; |γ| of the last norm takes that into account."
    prior = "Not known for this network."
    mini = "a DenseNet-BC-100 (growth 12) trained on CIFAR-10 by others"
    full = "DenseNet-40 (growth 12), 300 epochs on CIFAR-10, as in the paper"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        (row,) = reuse_matrices(context)[-1].rows(inside=False)
        return correlation_effect(np.arange(len(row)), row, "source")
