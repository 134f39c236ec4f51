"""With few images a new head on frozen, pretrained layers beats training from scratch.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 5.2 (Caltech-101, 15 images per class).
"""

from typing import final

from microtome.replicate.rules import Above
from microtome.replicate.training_claim import TrainingClaim


@final
class HeadOnlyFewImages(TrainingClaim):
    """A frozen trunk against training from scratch."""

    study = "002"
    kind = "training"
    hypothesis = "With 15 images of each class the frozen network with a new head is more accurate."
    measure = "Top-1 accuracy of head-only training minus that of training from scratch, paired by seed."
    rule = Above(0.0, "fraction")
    null = "No difference, or scratch is better: the pretrained features are of no use here."
    confounders = "The trunk has learnt drawn scenes and not photographs, which is against the claim."
    prior = "Not known."
    mini = (
        "mini_resnet's weights from scenes, CIFAR-10 photographs (15 of each class to train on), four seeds, 30 epochs; "
        "Student's interval over seeds"
    )
    full = "ResNet-50 of ImageNet on Caltech-101"

    variant = "head only"
