"""Bands are a matter of the last layers: earlier kernels of the same network do not have them.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009, section on where banding occurs.
"""

from typing import final

import numpy as np

from microtome.numerics.weights.banding import band_indices
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import difference_effect, number_rows
from microtome.replicate.google_kernels import branch_kernels
from microtome.replicate.rules import Above


@final
class BandsLastOnly(Claim):
    """Raw index of the last module against those of the first seven."""

    study = "004"
    kind = "real weights"
    hypothesis = "The raw index of the last 5 × 5 kernels exceeds the mean of those of modules 3a to 4e by more than 0.05."
    measure = "A of the raw weights of inception5b minus A of all filters of inception3a to 4e; Welch's interval over filters."
    rule = Above(0.05)
    null = "A is the same at all depths."
    confounders = "Later kernels read more channels; A is a fraction of energy and does not grow with them by itself."
    prior = "Not known. Raw indices are smaller than those of NMF maps, hence the small bound."
    mini = "BVLC GoogLeNet (Caffe), 128 against 352 filters"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        directions = {name: band_indices(kernels).direction for name, kernels in branch_kernels(context).items()}
        early = np.concatenate([values for name, values in directions.items() if name[9] in "34"])
        rows = number_rows({name: float(np.nanmean(values)) for name, values in directions.items()})
        return difference_effect(directions["inception5b"], early[~np.isnan(early)], "filter", rows)
