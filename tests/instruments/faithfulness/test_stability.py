"""Sensitivity of maps to noise, and their rank correlation: methods whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from map_networks import opened, pooled
from microtome.instruments.faithfulness.methods import MapMethod, MapRequest, map_methods
from microtome.instruments.faithfulness.stability import RADIUS, map_correlation, max_sensitivity

X = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
ASKED = MapRequest(X, np.arange(3), (torch.zeros(3, dtype=torch.int64),))


def sensitivity(method: MapMethod, draws: int = 4) -> np.ndarray:
    specimen = opened(pooled())
    return max_sensitivity(method, specimen, ASKED, method.draw(specimen, ASKED)[0], draws)


def test_a_constant_method_is_not_sensitive() -> None:
    constant = MapMethod("constant", "Constant", lambda _, request: [torch.ones(len(request.x), 12, 12)])
    assert sensitivity(constant).tolist() == [0.0, 0.0, 0.0]
    methods, _, _ = map_methods(opened(pooled()), ("gradcam",), "3", X)
    by_name = {method.name: sensitivity(method) for method in methods}
    assert not by_name["centre"].any() and not by_name["random"].any()
    assert bool((by_name["edges"] > 0).all()) and bool((by_name["gradcam"] > 0).all())


def test_the_image_itself_changes_by_the_noise_alone() -> None:
    """A method that returns the first channel: its relative change is the norm of the noise over that of the channel."""
    channel = MapMethod("channel", "Channel", lambda _, request: [request.x[:, 0]])
    most = RADIUS * 12 / X[:, 0].flatten(1).norm(dim=1).numpy()  # every pixel at the radius
    found = sensitivity(channel)
    assert bool((found < most).all())
    # uniform noise has a root mean square of the radius over √3
    assert found == pytest.approx(most / np.sqrt(3), rel=0.12)


def test_more_draws_never_make_it_smaller_and_empty_maps_have_none() -> None:
    methods, _, _ = map_methods(opened(pooled()), ("gradcam",), "3", X)
    few, many = (sensitivity(methods[0], draws) for draws in (1, 6))
    assert bool((many >= few).all()) and bool((many > few).any())
    empty = MapMethod("empty", "Empty", lambda _, request: [torch.zeros(len(request.x), 12, 12)])
    assert bool(np.isnan(sensitivity(empty)).all())


def test_correlation_is_spearmans_over_patches() -> None:
    draw = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 8, 8, generator=draw), torch.rand(2, 8, 8, generator=draw)
    means = [heat.view(2, 4, 2, 4, 2).mean((2, 4)).flatten(1).numpy() for heat in (first, second)]
    wanted = [spearmanr(one, two).statistic for one, two in zip(*means, strict=True)]
    assert map_correlation(first, second, 2) == pytest.approx(wanted)
    assert map_correlation(first, first, 2).tolist() == [1.0, 1.0]
    assert np.isnan(map_correlation(first, torch.ones(2, 8, 8), 2)).all()
