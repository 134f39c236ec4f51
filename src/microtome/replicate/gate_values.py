"""The gates of the trained MobileNetV3 with squeeze-and-excitation on CIFAR-10 images."""

from typing import Any

import numpy as np

from microtome.instruments.gates import find_gates
from microtome.replicate.claim import RunContext
from microtome.replicate.material import labels_of, layer_values, photographs, trained_network

Values = np.ndarray[Any, Any]
NETWORK = "cifar10_mobilenetv3_small_se"


def gate_values(context: RunContext, count: int) -> tuple[list[Values], Values]:
    """For each gated block in order the gates (image, unit), from 0 to 1, and the class of each image."""
    specimen, images = trained_network(context, NETWORK), photographs(context, "cifar10_test", count)
    gates = find_gates(specimen)[0]
    parts = [layer_values(specimen, images, [gate.watch], gate.values)[gate.watch] for gate in gates]
    return [part.double().numpy() for part in parts], labels_of(images)


def class_fraction(gates: Values, labels: Values) -> float:
    """The fraction of the gates' variance over images that the class explains beyond chance: ε², summed over units."""
    total = ((gates - gates.mean(0)) ** 2).sum()
    counts = np.bincount(labels)
    means = np.stack([gates[labels == label].mean(0) for label in np.flatnonzero(counts)])
    between = (counts[counts > 0, None] * (means - gates.mean(0)) ** 2).sum()
    chance = (len(means) - 1) / (len(gates) - 1)
    return float((between / total - chance) / (1 - chance))
