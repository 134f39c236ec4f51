"""A Gaussian attention bias helps a vision transformer that learns from few images.

Source: Kim et al. 2023, arXiv:2305.04722, tables on small data sets.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class AttentionBiasLearns(TrainingClaim):
    """A small transformer with and without the bias."""

    study = "003"
    kind = "training"
    hypothesis = "With the bias top-1 accuracy is higher."
    measure = "Top-1 accuracy with the bias minus that without, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "The paper's networks have a relative position bias and are pretrained. A single small network and one recipe; both "
        "variants get the same epochs, not the best of their own."
    )
    prior = "Known in part: docs/experiments_transformers.md, on another loop, could not tell them apart."
    mini = "mini_deit from scratch, four seeds, 1,500 scenes of 64 px, 12 epochs; Student's interval over seeds"
    full = "ViT-S (relative positions) fine-tuned on Pets, three seeds"

    variant = "Gaussian bias"
