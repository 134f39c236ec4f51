"""Features that were learnt on one data set serve another one better than untrained features do.

Source: Zeiler & Fergus 2013, arXiv:1311.2901, sec. 5.2 (Caltech-101, Caltech-256, PASCAL).
"""

from typing import final

import numpy as np

from microtome.numerics.probes.ridge import ridge_probe
from microtome.replicate.claim import Claim, Effect, Preset, RunContext
from microtome.replicate.effects import number_rows, twin_effect
from microtome.replicate.material import labels_of, layer_values, mean_over_positions, photographs, trained_network
from microtome.replicate.rules import Above
from microtome.specimen import Specimen

LAYER, CLASSES, TWINS = "layer3.8", 20, 5


@final
class FeaturesTransfer(Claim):
    """Transfer of a trained trunk, against untrained twins."""

    study = "002"
    kind = "real weights"
    hypothesis = "A linear probe on the trained network's last features is more accurate on new classes than on those of untrained twins."
    measure = (
        "Accuracy of a five-fold ridge probe on the last block's pooled features, trained network minus the mean of five twins."
    )
    rule = Above(0.0, "fraction")
    null = "The trained features do no better than random ones."
    confounders = (
        "Some of the new classes resemble those of CIFAR-10. ZF compare with training from scratch, which is another question."
    )
    prior = "Not known for this network; a wider one won 74% to 28% by our notes."
    mini = "ResNet-56 trained on CIFAR-10, on 20 classes of tiny-ImageNet with 10 images each, scaled to 32 px"
    full = "ResNet-50 of ImageNet on Caltech-101, 15 and 30 images of each class, also against training from scratch"

    def run(self, preset: Preset, context: RunContext) -> Effect:
        specimen, images = trained_network(context, "cifar10_resnet56"), photographs(context, "tiny_imagenet_val2000", 2000)
        chosen = images.take(np.flatnonzero(labels_of(images) % 10 == 0))  # every tenth of 200 classes
        own = self._accuracy(specimen, chosen)
        twins = np.array([self._accuracy(specimen.twin(seed, chosen), chosen).mean() for seed in range(1, TWINS + 1)])
        error = float(np.sqrt(own.mean() * (1 - own.mean()) / len(own)))
        rows = number_rows({"trained": own.mean(), "untrained twins": twins.mean(), "chance": 1 / CLASSES}, "fraction")
        return twin_effect(float(own.mean()), error, len(own) - 1, twins, f"{len(own)} images", rows)

    @staticmethod
    def _accuracy(specimen: Specimen, images: object) -> np.ndarray:
        features = layer_values(specimen, images, [LAYER], mean_over_positions)[LAYER]  # type: ignore[arg-type]
        return ridge_probe(features.double().numpy(), labels_of(images)).correct.astype(float)  # type: ignore[arg-type]
