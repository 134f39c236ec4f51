"""Heat, grid and overlay show the values of their arrays at their places."""

import matplotlib as mpl
import numpy as np
import pytest

from microtome.figures.paper import shorten
from microtome.finding import array
from microtome.panels import Grid, Overlay
from sample_findings import AT, LAYERS, PICTURES, finding, one, texts

FOUND = finding()


def test_heat_shows_the_matrix_first_dimension_downwards():
    axes, bar = FOUND.figure("CKA between all layers").axes
    (image,) = axes.images
    assert np.asarray(image.get_array()) == pytest.approx(FOUND["cka"].values)
    assert image.get_clim() == (0, 1)
    assert image.origin == "upper"
    assert bar.get_ylabel() == "CKA"
    assert axes.get_yticklabels()[0].get_text() == shorten(LAYERS[0])


def test_a_small_heat_writes_its_numbers_and_a_diverging_scale_has_zero_in_the_middle():
    drawn = FOUND.figure("Change under corruption")
    assert texts(drawn) == ["0.1", "-0.2", "0.4", "0", "-0.35"]  # the missing value is left blank
    assert drawn.axes[0].images[0].get_clim() == (-0.4, 0.4)
    assert [tick.get_text() for tick in drawn.axes[0].get_xticklabels()] == ["1", "3", "5"]


def test_grid_lays_tiles_down_and_across_and_marks_empty_ones():
    drawn = FOUND.figure("Kernels")
    (axes,) = drawn.axes
    assert len(axes.images) == 6 * 16
    assert texts(drawn) == ["empty"]
    left, _, _, top = axes.images[16 * 2 + 3].get_extent()  # third row, fourth column
    assert (int(left), int(top)) == (3, 2)
    tile = FOUND["kernels"].values[1, 4]
    blue = mpl.colormaps["RdBu_r"](0.5 + 0.5 * tile / np.abs(tile).max())[..., :3]
    assert np.asarray(axes.images[16 + 4].get_array()) == pytest.approx(blue, abs=1 / 128)


def test_grid_wraps_colours_without_a_second_dimension():
    drawn = FOUND.figure("Weights as colours")
    (axes,) = drawn.axes
    assert len(axes.images) == 23
    assert np.asarray(axes.images[22].get_array()) == pytest.approx(FOUND["factors"].values[22])
    assert texts(drawn) == [str(number) for number in range(23)]


def test_grid_with_one_scale_for_all_has_a_colour_bar_and_a_long_one_says_what_is_left_out():
    z = array(np.arange(50 * 4.0).reshape(50, 1, 2, 2), ("unit", "image", "row", "col"), "1", title="map")
    drawn = one(Grid(title="t", z="z", across="image", down="unit", each=False), z=z)
    axes, bar = drawn.axes
    assert bar.get_ylabel() == "map"
    assert len(axes.images) == 24
    assert axes.get_xlabel() == "the first 24 of 50 down, 1 of 1 across"


def test_signed_colours_lie_about_grey():
    z = array(np.array([-2.0, 0, 2]).reshape(1, 1, 1, 3), ("unit", "row", "col", "rgb"), "1")
    (axes,) = one(Grid(title="t", z="z", across="unit"), z=z).axes
    assert np.asarray(axes.images[0].get_array()).ravel() == pytest.approx([0, 0.5, 1])


def test_overlay_shows_picture_maps_and_masks():
    drawn = FOUND.figure("Where it looks")
    (axes,) = drawn.axes
    assert len(axes.images) == 3 * 4
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["image", *AT]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [shorten(name, 22) for name in PICTURES]
    assert np.asarray(axes.images[4].get_array()) == pytest.approx(np.clip(FOUND["picture"].values[1], 0, 1))
    assert texts(drawn) == ["empty", "empty"]  # one map of zeros, one of missing values
    assert len(axes.collections) == 3 * 4 * 2  # each outline twice: black below white


@pytest.mark.parametrize(("extent", "hottest"), [("", (4, 4)), ("extent", (2, 2))])
def test_overlay_puts_the_heat_where_its_extent_says(extent, hottest):
    heat = np.zeros((1, 3, 3))
    heat[0, 1, 1] = 1  # the middle cell of a map over the whole image, or over its upper left corner
    arrays = {
        "base": array(np.full((1, 9, 9, 3), 0.5), ("image", "row", "col", "rgb"), "1"),
        "heat": array(heat, ("image", "row", "col"), "1"),
        "extent": array(np.array([[-1 / 18 * 0, 5 / 9, 0, 5 / 9]]), ("image", "axis"), "share"),
    }
    (axes,) = one(Overlay(title="t", base="base", heat="heat", extent=extent), **arrays).axes
    away = np.abs(np.asarray(axes.images[1].get_array()) - 0.5).sum(-1)
    assert np.unravel_index(away.argmax(), away.shape) == hottest
