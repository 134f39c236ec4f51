"""A GoogLeNet that others trained, in another framework, has horizontal bands in its last 5 × 5 kernels.

Source: Petrov et al. 2021, "Weight Banding", doi:10.23915/distill.00024.009 (bands are general); the network is new to the claim.
"""

from typing import final

from microtome.numerics.weights.banding import band_indices
from microtome.numerics.weights.nmf import factorise
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import mean_effect, number_rows
from microtome.replicate.google_kernels import branch_kernels
from microtome.replicate.rules import Above


@final
class GooglenetBands(Claim):
    """The index on real weights of a network that the article has not."""

    study = "004"
    kind = "real weights"
    hypothesis = "A of the NMF maps of inception5b's 5 × 5 kernels is above 0.5."
    measure = "A, the mean over filters of row minus column energy of the three NMF maps of each filter's weights."
    rule = Above(0.5)
    null = "A = 0, as in untrained twins."
    confounders = "GoogLeNet's auxiliary heads and its dropout differ from the article's training."
    prior = "Not known: our notes measured published maps, no raw weights. The article's InceptionV1 has 0.92 and 0.58."
    mini = "BVLC GoogLeNet (Caffe), 128 filters; interval over filters"
    full = "the same"
    runs_full = True

    def run(self, preset: Preset, context: RunContext) -> Effect:
        kernels = branch_kernels(context)["inception5b"]
        maps = factorise(kernels.flatten(2)).maps.mT.unflatten(2, kernels.shape[2:])
        raw = band_indices(kernels).direction
        return mean_effect(band_indices(maps).direction, "filter", number_rows({"A of the raw weights": float(raw.mean())}))
