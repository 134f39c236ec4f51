"""The size of a network's receptive field does not predict its accuracy.

Source: Kim et al. 2023, arXiv:2305.04722, table of nine torchvision networks.
"""

from typing import final

import numpy as np

from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import correlation_effect
from microtome.replicate.rules import Within

ACCURACY = (89.078, 91.420, 92.862, 93.546, 94.046, 93.698, 94.086, 94.284, 94.526)  # top-5, per cent
FIELD = (435, 899, 427, 971, 1451, 427, 427, 971, 971)  # px
EFFECTIVE = (
    (76.5, 73.7),
    (96.1, 97.2),
    (64.8, 62.2),
    (60.1, 60.7),
    (60.6, 58.7),
    (70.9, 67.7),
    (58.4, 60.7),
    (56.9, 59.9),
    (77.7, 77.0),
)


@final
class FieldPredictsNoAccuracy(Claim):
    """No relation, which takes an interval around zero to show."""

    study = "003"
    kind = "no training"
    hypothesis = "Accuracy and the size of the effective field have a rank correlation between -0.3 and 0.3."
    measure = "Spearman's correlation of top-5 accuracy and the mean of both σ of the effective field, over the nine printed networks."
    rule = Within(-0.3, 0.3)
    null = "There is a correlation, of either sign."
    confounders = (
        "Depth and width differ too; nine networks of one library and two families are few, and most claims of no effect need "
        "more."
    )
    prior = (
        "The numbers are printed; the correlation was not computed before. With nine networks no interval can be that narrow."
    )
    mini = "the printed table"
    full = "the effective fields of 30 torchvision networks, measured"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        theoretical = correlation_effect(np.array(FIELD), np.array(ACCURACY), "network")
        rows = (("with the theoretical field", f"{theoretical.value:.3f} [{theoretical.low:.3f}, {theoretical.high:.3f}]"),)
        return correlation_effect(np.array(EFFECTIVE).mean(1), np.array(ACCURACY), "network", rows)
