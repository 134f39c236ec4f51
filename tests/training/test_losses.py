"""Cross-entropy by its formula: smoothed labels, fractions of classes, pixels, and auxiliary outputs."""

import numpy as np
import pytest
import torch

from microtome.training.losses import cross_entropy, training_loss

SCORES = torch.tensor([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0]])
LABELS = torch.tensor([0, 1])


def logarithms() -> np.ndarray:
    """log softmax in float64, by numpy."""
    scores = SCORES.double().numpy()
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


def test_label_smoothing_is_its_formula() -> None:
    wanted = np.full((2, 3), 0.3 / 3)  # Szegedy et al.: (1 - e) on the label, e / K on all
    wanted[[0, 1], [0, 1]] += 0.7
    assert float(cross_entropy(SCORES, LABELS, 0.3)) == pytest.approx(-(wanted * logarithms()).sum(1).mean(), rel=1e-6)


def test_fractions_of_classes_weigh_the_logarithms() -> None:
    fractions = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.5, 0.5]])
    expected = -(fractions.double().numpy() * logarithms()).sum(1).mean()
    assert float(cross_entropy(SCORES, fractions)) == pytest.approx(expected, rel=1e-6)


def test_pixels_are_averaged_and_small_maps_are_resized() -> None:
    maps = SCORES[:, :, None, None].expand(2, 3, 2, 2)
    expected = -logarithms()[[0, 1], [0, 1]].mean()
    for side in (2, 4):  # constant maps stay constant when resized
        targets = LABELS[:, None, None].expand(2, side, side)
        assert float(cross_entropy(maps, targets)) == pytest.approx(expected, rel=1e-6)
    assert float(cross_entropy(SCORES[:, :, None, None], LABELS)) == pytest.approx(expected, rel=1e-6)


def test_auxiliary_outputs_count_for_three_tenths() -> None:
    alone = float(cross_entropy(SCORES, LABELS))
    other = float(cross_entropy(-SCORES, LABELS))
    expected = pytest.approx(alone + 0.3 * other, rel=1e-6)
    assert float(training_loss((SCORES, -SCORES), LABELS)) == expected
    assert float(training_loss({"out": SCORES, "aux": -SCORES}, LABELS)) == expected
    assert float(training_loss([SCORES, torch.zeros(2, 7)], LABELS)) == pytest.approx(alone)  # features are no scores
    assert float(training_loss({"logits": SCORES}, LABELS)) == pytest.approx(alone)
