"""What the class explains of gates, by hand and against scikit-learn's regression; nine gated blocks, where the network is."""

import numpy as np
import pytest

from microtome.replicate.gate_values import class_fraction, gate_values
from shared_data import CONTEXT, needs_data

RANDOM = np.random.default_rng(0)


def test_gates_that_are_the_class_are_explained_and_noise_is_not() -> None:
    labels = np.repeat(np.arange(4), 25)
    assert class_fraction(labels[:, None].astype(float), labels) == pytest.approx(1)
    assert class_fraction(RANDOM.random((100, 200)), labels) == pytest.approx(0, abs=0.02)


def test_the_fraction_is_adjusted_for_chance() -> None:
    gates, labels = RANDOM.random((30, 1)), np.repeat([0, 1, 5], 10)
    means = np.stack([gates[labels == label].mean(0) for label in (0, 1, 5)])
    within = sum(((gates[labels == label] - means[k]) ** 2).sum() for k, label in enumerate((0, 1, 5)))
    eta = 1 - within / ((gates - gates.mean()) ** 2).sum()
    assert class_fraction(gates, labels) == pytest.approx((eta - 2 / 29) / (1 - 2 / 29))


@needs_data
def test_the_network_has_nine_gates_between_0_and_1() -> None:
    gates, labels = gate_values(CONTEXT, 10)
    assert len(gates) == 9 and len(labels) == 10
    assert all(block.shape[0] == 10 and block.min() >= 0 and block.max() <= 1 for block in gates)
