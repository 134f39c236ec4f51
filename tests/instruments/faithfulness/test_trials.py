"""Trials: the classes asked about, and scores in the order of the images whatever the batches."""

import numpy as np
import pytest
import torch

import microtome as mt
from map_networks import opened, pooled
from microtome.instruments.faithfulness.methods import map_methods
from microtome.instruments.faithfulness.removal_trials import RemovalPlan
from microtome.instruments.faithfulness.trials import prepare_trials, score_maps, score_methods
from microtome.scan import Pace

IMAGES = mt.Images.tensors(torch.rand(7, 3, 12, 12, generator=torch.Generator().manual_seed(0)))


def test_maps_are_asked_for_the_predicted_class_and_the_runner_up() -> None:
    specimen = opened(pooled())
    (trial,) = prepare_trials(specimen, IMAGES, RemovalPlan(3, 2), Pace(batch=8))
    first, second = trial.request.classes
    ranks = specimen.run(trial.request.x).sort(dim=1, descending=True).indices
    assert torch.equal(first, ranks[:, 0]) and torch.equal(second, ranks[:, 1])
    assert np.array_equal(trial.request.index, trial.batch.index) and torch.equal(trial.canvas.classes, first)


def test_scores_do_not_depend_on_batches_and_follow_the_images() -> None:
    specimen, plan = opened(pooled()), RemovalPlan(3, 2)
    (trial,) = prepare_trials(specimen, IMAGES, plan, Pace(batch=8))
    methods, _, _ = map_methods(specimen, ("gradcam",), "3", trial.request.x)
    whole, parts = (score_methods(specimen, IMAGES, methods, plan, Pace(batch=batch)) for batch in (8, 3))
    assert list(whole) == ["gradcam", "random", "centre", "edges"]
    for method in methods:
        assert whole[method.name] == pytest.approx(parts[method.name], abs=1e-6)
        by_hand = score_maps(specimen, method, trial.request, trial.canvas)
        assert whole[method.name][trial.batch.index] == pytest.approx(by_hand)
