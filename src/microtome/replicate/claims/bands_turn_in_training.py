"""Turning the training images by 90° turns the bands of the last layer.

Source: Petrov et al. 2021, doi:10.23915/distill.00024.009, section on rotating images.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class BandsTurnInTraining(TrainingClaim):
    """Trained here, upright against turned."""

    study = "004"
    kind = "training"
    hypothesis = "The raw index A of the last layer is lower by more than 0.05 on turned images."
    measure = "A of the raw weights of the last convolution, upright minus turned, paired by seed."
    rule = Above(0.05)
    null = "No difference: no bands, or none that follow the data."
    confounders = "A small network on drawn scenes may show no bands at all; then the claim fails here, not in general."
    prior = "Known in part: a toy of ours turned its sign; no network of ours was banded."
    mini = (
        "banding_net of an eighth of the width from scratch, three seeds, 2,000 horizon scenes of 64 px, 20 epochs; Student's "
        "interval over seeds"
    )
    full = "the simplified network on ImageNet, 90 epochs, three seeds"

    variant = "upright"
    number = "banding: banding index, raw weights"
