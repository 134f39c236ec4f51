"""Maps as weights are drawn anew: a method that sees no network stays, one that shows the weights changes."""

import numpy as np
import pytest
import torch

import microtome as mt
from map_networks import opened, pooled
from microtome.analyses.faithfulness.cascade import add_cascade, cascade_correlations
from microtome.analyses.faithfulness.measures import MethodRows
from microtome.instruments.faithfulness.methods import map_methods
from microtome.instruments.faithfulness.removal_trials import RemovalPlan
from microtome.instruments.faithfulness.stability import map_correlation
from microtome.instruments.faithfulness.trials import prepare_trials
from microtome.instruments.faithfulness.weight_cascade import cascade_parts, randomised_networks
from microtome.scan import Pace


def test_each_stage_is_the_correlation_with_the_map_of_that_network() -> None:
    specimen = opened(pooled())
    images = mt.Images.tensors(torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0)))
    (trial,) = prepare_trials(specimen, images, RemovalPlan(4, 2), Pace())
    parts = cascade_parts(specimen, 3)
    methods, _, _ = map_methods(specimen, ("hirescam",), "3", trial.request.x)
    originals = {method.name: method.draw(specimen, trial.request)[0] for method in methods}
    left = cascade_correlations(specimen, parts, methods, trial, originals, seed=0)
    assert all(values.shape == (3, 4) and (values[:, 0] == 1).all() for values in left.values())
    for baseline in ("random", "centre", "edges"):
        assert left[baseline] == pytest.approx(1.0)
    wanted = [
        map_correlation(originals["hirescam"], methods[0].draw(network, trial.request)[0], 2)
        for network in randomised_networks(specimen, parts, trial.request.x)
    ]
    assert left["hirescam"][:, 1:] == pytest.approx(np.stack(wanted, 1)) and float(left["hirescam"][:, -1].max()) < 0.9
    rows = {name: MethodRows() for name in left}
    add_cascade(rows, left)
    assert np.array_equal(rows["hirescam"].values["cascade"][0], left["hirescam"])
