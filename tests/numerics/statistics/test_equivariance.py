"""Relative distances and equivariance errors: hand-made numbers, plain loops, and exact shifts."""

import numpy as np
import pytest
import torch

from microtome.numerics.statistics.equivariance import distance_to_others, equivariance_error, relative_distance, view_agreement


def test_relative_distance_by_hand() -> None:
    still = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    moved = torch.stack([still, torch.tensor([[3.0, 1.0], [0.0, 1.0]])])
    told = relative_distance(moved, still)
    # nothing moved: 0, also of nothing; (0, 3) of (3, 4): 3 / 5; something of nothing: infinite
    assert told.tolist() == [[0.0, 0.0], [pytest.approx(0.6), float("inf")]]


def test_distance_is_the_mean_over_the_others() -> None:
    x = torch.randn(5, 24, generator=torch.Generator().manual_seed(0))
    told = distance_to_others(x, x, torch.arange(5))
    for one in range(5):
        gaps = [float((x[one] - x[other]).double().norm() / x[one].double().norm()) for other in range(5) if other != one]
        assert told[one].item() == pytest.approx(np.mean(gaps), rel=1e-6)
    assert torch.isnan(distance_to_others(x[:1], x[:1], torch.arange(1))).all()
    # an image that is none of the others is compared with all of them; features that are equal on all images are exactly 0 apart
    expected = np.mean([float((x[4] - x[other]).double().norm() / x[4].double().norm()) for other in range(3)])
    assert distance_to_others(x[4:], x[:3], torch.tensor([4])).item() == pytest.approx(expected, rel=1e-6)
    assert distance_to_others(x[:1].expand(4, -1), x[:1].expand(4, -1), torch.arange(4)).tolist() == [0, 0, 0, 0]


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
