"""A transformer trained with PreLayerNorm keeps more accuracy when contrast is enhanced.

Source: Kim et al. 2023, arXiv:2111.08413, abstract.
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class PrelayernormKeepsContrast(TrainingClaim):
    """Lowest accuracy over contrast factors."""

    study = "003"
    kind = "training"
    hypothesis = "With the norm the lowest accuracy over contrast factors is higher."
    measure = "Lowest accuracy over factors of contrast with the norm minus that without, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference."
    confounders = (
        "Clean accuracies may differ; the invariance is about the mean colour of the recipe, contrast about another grey is not "
        "removed."
    )
    prior = "Known in part: docs/experiments_transformers.md, on another loop."
    mini = "mini_deit from scratch, four seeds, 1,500 scenes of 64 px, 12 epochs; Student's interval over seeds"
    full = "ViT-B/16 on ImageNet with and without the norm"

    variant = "PreLayerNorm"
    number = "robustness: lowest accuracy, contrast"
