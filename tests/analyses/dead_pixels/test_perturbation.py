"""The score that is differentiated and perturbed, and how its change is compared, by hand."""

import numpy as np
import pytest
import torch

from microtome.analyses.dead_pixels.perturbation import _r_squared, class_score, gives_maps


def test_the_score_is_the_predicted_class_or_the_mean_of_maps() -> None:
    scores = torch.tensor([[1.0, 3.0], [5.0, 2.0]])
    assert class_score(scores).tolist() == [3, 5] and not gives_maps(scores)
    assert class_score(scores[:, :, None, None]).tolist() == [3, 5]  # one score for each class, with two axes too many
    maps = scores[:, :, None, None].expand(2, 2, 3, 3)
    assert gives_maps(maps) and class_score(maps).tolist() == pytest.approx([2, 3.5])


def test_the_squared_correlation_is_numpys_and_nought_for_a_constant() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 25))
    assert _r_squared(first, first + second) == pytest.approx(np.corrcoef(first, first + second)[0, 1] ** 2)
    assert _r_squared(first, np.ones(25)) == 0
