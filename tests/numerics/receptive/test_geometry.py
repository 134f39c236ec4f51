"""Grids in an image: borders, finer and coarser grids, and maps carried from one to another; by hand and against plain sums."""

import numpy as np
import pytest
import torch

from microtome.numerics.maps.heat import area_resample
from microtome.numerics.receptive.geometry import Axis, Where, even_tiling, interpolate, resample_area, tile


def test_edges_give_every_pixel_to_its_nearest_centre():
    axis = Axis(0.0, 32.0, 7)
    assert axis.edges(224).tolist() == pytest.approx([0, *((16.5 + 32 * np.arange(6)) / 224), 1])
    assert axis.extent(224) == pytest.approx((-15.5 / 224, 208.5 / 224))
    assert tile(224, 7).extent(224) == (0.0, 1.0)


def test_resampling_keeps_the_mean_and_leaves_an_even_map_even():
    where = Where(Axis(0.0, 32.0, 7), Axis(7.5, 16.0, 14))
    even = resample_area(torch.ones(1, 7, 14), where, (224, 224), (5, 9))
    assert even.flatten().tolist() == pytest.approx([1.0] * 45)
    heat = torch.rand(2, 7, 14, generator=torch.Generator().manual_seed(0))
    fine, coarse = (resample_area(heat, where, (224, 224), grid) for grid in ((224, 224), (7, 7)))
    assert coarse.mean((1, 2)).tolist() == pytest.approx(fine.mean((1, 2)).tolist())


def test_resampling_a_plain_grid_is_the_area_resampling_of_maps():
    heat = torch.rand(2, 14, 12, generator=torch.Generator().manual_seed(1))
    ours = resample_area(heat, even_tiling((224, 192), (14, 12)), (224, 192), (7, 5))
    theirs = area_resample(heat, (7, 5)) * (7 * 5) / (14 * 12)  # sums there, means here
    assert torch.allclose(ours, theirs)


def test_interpolation_is_exact_on_a_ramp_between_the_outer_centres():
    where = Where(Axis(0.0, 32.0, 7), Axis(0.0, 32.0, 7))
    ramp = torch.arange(7.0)[None, :, None].expand(1, 7, 7)
    found = interpolate(ramp, where, (224, 224), (224, 224))[0, :, 0]
    assert found[:193].tolist() == pytest.approx((np.arange(193) / 32).tolist())
    assert found[193:].tolist() == [6.0] * 31


@pytest.mark.parametrize(("count", "exact"), [(4, True), (16, True), (5, False)])
def test_another_number_of_positions_covers_the_same_stretch(count, exact):
    axis = Axis(3.5, 8.0, 8)
    other = axis.regrid(count)
    assert other.extent(64) == pytest.approx(axis.extent(64)) == (0.0, 1.0)
    assert (other.count, other.exact) == (count, exact)
    assert other.centres == pytest.approx((np.arange(count) + 0.5) * 64 / count - 0.5)
    assert axis.regrid(8) is axis
