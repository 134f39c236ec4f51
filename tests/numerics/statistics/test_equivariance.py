"""Relative distances and equivariance errors: hand-made numbers, plain loops, and exact shifts."""

import numpy as np
import pytest
import torch

from microtome.numerics.statistics.equivariance import distance_between, equivariance_error, relative_distance, view_agreement


def test_relative_distance_by_hand() -> None:
    still = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    moved = torch.stack([still, torch.tensor([[3.0, 1.0], [0.0, 1.0]])])
    told = relative_distance(moved, still)
    # nothing moved: 0, also of nothing; (0, 3) of (3, 4): 3 / 5; something of nothing: infinite
    assert told.tolist() == [[0.0, 0.0], [pytest.approx(0.6), float("inf")]]


def test_distance_between_is_the_mean_over_the_others() -> None:
    x = torch.randn(5, 4, 3, 2, generator=torch.Generator().manual_seed(0))
    told = distance_between(x)
    for one in range(5):
        gaps = [float((x[one] - x[other]).double().norm() / x[one].double().norm()) for other in range(5) if other != one]
        assert told[one].item() == pytest.approx(np.mean(gaps), rel=1e-6)
    assert torch.isnan(distance_between(x[:1])).all()


@pytest.mark.parametrize("cells", [1, 2])
def test_maps_that_move_with_the_picture_have_no_error(cells: int) -> None:
    still = torch.randn(2, 3, 8, 7, generator=torch.Generator().manual_seed(1))
    told = equivariance_error(still.roll(cells, 2), still, cells)
    assert told.tolist() == [0, 0]
    assert (equivariance_error(still, still, cells) > 0.5).all()  # maps that stayed are wrong
    assert (equivariance_error(still.roll(-cells, 2), still, cells) > 0.5).all()  # so are maps that went up


def test_half_a_cell_is_the_mean_of_two() -> None:
    still = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(2))
    assert equivariance_error((still + still.roll(1, 2)) / 2, still, 0.5).item() == pytest.approx(0, abs=1e-6)


def test_grids_without_an_inside_are_not_judged() -> None:
    assert torch.isnan(equivariance_error(torch.ones(2, 1, 4, 4), torch.ones(2, 1, 4, 4), 1)).all()
    assert torch.isnan(equivariance_error(torch.ones(2, 1, 9, 3), torch.ones(2, 1, 9, 3), 1)).all()


def test_agreement_counts_pairs() -> None:
    # of three views: all the same 3/3, one apart 1/3, all apart 0
    assert view_agreement(np.array([[4, 4, 4], [1, 2, 1], [0, 1, 2]])).tolist() == [1.0, pytest.approx(1 / 3), 0.0]
    assert np.isnan(view_agreement(np.array([[1], [2]]))).all()
