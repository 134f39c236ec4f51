import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from microtome.numerics.maps.heat import (
    area_resample,
    centre_prior,
    energy_inside,
    heat_coverage,
    ordering_auc,
    partial_rank_correlation,
    pointing_game,
    rank_correlation,
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_resampling_by_hand():
    # Three cells onto two: the middle one is halved.
    assert area_resample(torch.tensor([[[1.0, 2, 4]]]), (1, 2)).tolist() == [[[2.0, 5.0]]]
    # Two onto three: each cell gives 2/3 to its outer neighbour.
    assert area_resample(torch.tensor([[[3.0, 6]]]), (1, 3)).flatten().tolist() == pytest.approx([2, 3, 4])


@pytest.mark.parametrize("size", [(14, 14), (7, 7), (2, 14), (28, 7)])
def test_whole_ratios_are_torchs_average_pool(size):
    heat = random(2, 28, 28)
    expected = torch.nn.functional.adaptive_avg_pool2d(heat.double(), size) * (28 * 28 / (size[0] * size[1]))
    assert torch.allclose(area_resample(heat, size), expected)


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 12)] * 4)
def test_resampling_keeps_the_sum_and_evenness(rows, cols, rows_, cols_):
    heat = random(2, rows, cols, seed=rows * 13 + cols)
    there = area_resample(heat, (rows_, cols_))
    assert torch.allclose(there.sum((1, 2)), heat.double().sum((1, 2)))
    even = area_resample(torch.ones(1, rows, cols), (rows_, cols_))
    assert torch.allclose(even, torch.full_like(even, rows * cols / (rows_ * cols_)))


def test_an_extent_moves_the_map_and_keeps_heat_at_the_edge():
    heat = torch.tensor([[[1.0, 2.0]]])
    # Cells from -1/4 to 1/4 and from 1/4 to 3/4 of the width, on four bins: the first is cut to one bin and keeps all its heat.
    assert area_resample(heat, (1, 4), (0, 1, -0.25, 0.75)).tolist() == [[[1.0, 1.0, 1.0, 0.0]]]
    assert area_resample(heat, (1, 2), (0, 1, 0.5, 1.5)).tolist() == [[[0.0, 1.0]]]  # the second lies outside
    with pytest.raises(ValueError, match="beyond its near edge"):
        area_resample(heat, (1, 2), (0, 1, 0.5, 0.5))


def test_energy_in_a_mask_by_hand():
    heat = torch.tensor([[[3.0, 1], [0, -5]]])  # negative heat is no energy
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :2, :1] = True  # half of the first cell
    inside, area = energy_inside(heat, mask)
    assert (inside.item(), area.item()) == pytest.approx((1.5 / 4, 2 / 16))


def test_an_even_map_has_no_lift_and_a_perfect_one_all():
    mask = random(5, 9, 11) > 0.6
    inside, area = energy_inside(torch.ones(5, 7, 7), mask)
    assert torch.allclose(inside, area)
    assert torch.allclose(energy_inside(mask.float(), mask)[0], torch.ones(5, dtype=torch.float64))


def test_empty_maps_are_not_a_number():
    heat, mask = torch.zeros(1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool)
    values = [
        energy_inside(heat, mask)[0],
        heat_coverage(heat, 0.5),
        pointing_game(heat, mask),
    ]
    assert all(math.isnan(value.item()) for value in values)
    assert math.isnan(heat_coverage(-torch.ones(1, 2, 2), 0.5).item())


def test_coverage_by_hand():
    heat = torch.tensor([[[4.0, 3], [2, 1]]])
    assert heat_coverage(heat, 0.5).item() == pytest.approx((1 + 1 / 3) / 4)  # 5 of 10: the 4 and a third of the 3
    assert heat_coverage(heat, 0.9).item() == pytest.approx(3 / 4)
    assert heat_coverage(heat, 1.0).item() == pytest.approx(1)
    assert heat_coverage(torch.tensor([[[0.0, 7, 0, 0]]]), 1.0).item() == pytest.approx(1 / 4)


def test_coverage_is_the_same_on_a_finer_grid_and_even_for_an_even_map():
    heat = random(3, 7, 7)
    for share in (0.5, 0.9):
        assert torch.allclose(
            heat_coverage(heat.repeat_interleave(4, 1).repeat_interleave(4, 2), share), heat_coverage(heat, share)
        )
        assert heat_coverage(torch.ones(1, 5, 3), share).item() == pytest.approx(share)
        assert torch.allclose(heat_coverage(8 * heat, share), heat_coverage(heat, share))


def test_centre_prior_is_a_symmetric_unit_blob():
    blob = centre_prior(6, 9, 0.25)
    assert blob.sum().item() == pytest.approx(1)
    assert torch.allclose(blob, blob.flip(0))
    assert torch.allclose(blob, blob.flip(1))
    # Row 0 of 6 lies 5/12 of the height from the middle, row 2 lies 1/12: ratio exp(-(25 - 1)/144 / (2/16)).
    assert (blob[0, 0] / blob[2, 0]).item() == pytest.approx(math.exp(-24 / 144 * 8))


def test_pointing_allows_the_tolerance():
    heat = torch.zeros(2, 4, 4)
    heat[:, 0, 0] = 1  # the middle of the first cell of 10 px is pixel (5, 5)
    mask = torch.zeros(2, 40, 40, dtype=torch.bool)
    mask[0, 5, 20] = True  # 15 px away
    mask[1, 5, 21] = True
    assert pointing_game(heat, mask).tolist() == [1, 0]
    assert pointing_game(heat, mask, tolerance=16).tolist() == [1, 1]
    assert math.isnan(pointing_game(heat, torch.zeros(2, 40, 40, dtype=torch.bool))[0].item())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=20))
def test_rank_correlation_is_scipys_with_ties(pairs):
    a, b = np.array(pairs, dtype=np.float64).T.copy()
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert rank_correlation(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(spearmanr(a, b).statistic)
    else:
        assert math.isnan(rank_correlation(torch.tensor(a), torch.tensor(b)).item())


def test_rank_correlation_runs_over_a_batch_and_ignores_monotone_maps():
    a, b = random(3, 2, 50), random(3, 2, 50, seed=1)
    found = rank_correlation(a, b)
    assert found.shape == (3, 2)
    assert found[2, 1].item() == pytest.approx(spearmanr(a[2, 1], b[2, 1]).statistic)
    assert torch.allclose(rank_correlation(a.exp(), -b), -found)


def test_partial_rank_correlation_is_that_of_what_a_line_through_the_ranks_leaves():
    a, b, given = random(60), random(60, seed=1), random(60, seed=2)
    a, b = a + 2 * given, b + 2 * given  # alike by what both owe to the third
    ranks = [rankdata(one.numpy()) for one in (a, b, given)]
    left = [one - np.polyval(np.polyfit(ranks[2], one, 1), ranks[2]) for one in ranks[:2]]
    found = partial_rank_correlation(a, b, given).item()
    assert found == pytest.approx(np.corrcoef(left)[0, 1])
    assert abs(found) < 0.3 < rank_correlation(a, b).item()


def test_a_wrong_rank_is_refused():
    with pytest.raises(TypeCheckError):
        area_resample(torch.ones(2, 3, 4, 5), (2, 2))


def test_dimensions_of_one_name_must_agree():
    with pytest.raises(TypeCheckError):
        energy_inside(torch.ones(2, 7, 7), torch.ones(3, 14, 14, dtype=torch.bool))


def test_ordering_auc_is_scikit_learns_and_a_half_for_ties():
    heat, mask = random(3, 9, 7).mul(8).round(), random(3, 9, 7, seed=1) > 0.7
    wanted = [roc_auc_score(one.flatten(), values.flatten()) for values, one in zip(heat, mask, strict=True)]
    assert ordering_auc(heat, mask).tolist() == pytest.approx(wanted)
    assert ordering_auc(torch.ones(1, 4, 4), torch.eye(4)[None].bool()).tolist() == [0.5]
    assert ordering_auc(torch.eye(4)[None], torch.eye(4)[None].bool()).tolist() == [1.0]
    assert ordering_auc(heat[:1], torch.zeros(1, 9, 7).bool()).isnan().all()
