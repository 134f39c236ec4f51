"""A few images followed one by one: which, under which warps, and small copies of them."""

import numpy as np
import pytest

import microtome as mt
from microtome.analyses.invariance.examples import example_arrays, example_indices, followed_warps, shown_amounts, thumbnails
from microtome.analyses.invariance.plan import WarpPlan
from microtome.tally import Rows


def plan(amounts, size=(32, 32), names=("a", "b", "output")):
    views = tuple((warp, one) for warp, many in amounts.items() for one in many if one != (1.0 if warp == "scale" else 0.0))
    return WarpPlan(names, (0,) * len(names), views, amounts, size, np.zeros(7, int), "")


def test_the_warps_of_the_papers_figure_or_all_but_mirrors() -> None:
    assert followed_warps(plan({"flip": (0.0, 1.0), "col_shift": (0.0, 1.0), "scale": (1.0, 2.0)})) == ["scale"]
    assert followed_warps(plan({"flip": (0.0, 1.0), "col_shift": (0.0, 1.0)})) == ["col_shift"]


@pytest.mark.parametrize(("count", "places"), [(1, [0]), (4, [0, 1, 2, 3]), (5, [0, 1, 2, 3, 4]), (101, [0, 25, 50, 75, 100])])
def test_examples_are_evenly_spaced(count: int, places: list[int]) -> None:
    assert example_indices(count) == places


def test_amounts_shown_go_from_the_smallest_to_the_largest() -> None:
    assert shown_amounts(plan({"row_shift": tuple(map(float, range(-4, 5)))}), "row_shift") == [-4, -2, 0, 2, 4]


def test_each_image_has_its_own_numbers_and_the_mean_is_over_all() -> None:
    images = mt.Images.tensors(np.zeros((7, 4, 4, 3), np.uint8))
    made = plan({"row_shift": (0.0, 3.0)})
    distance = np.arange(21.0).reshape(7, 1, 3)
    chance = np.stack([np.linspace(0, 0.6, 7), np.linspace(0.4, 1, 7), np.full(7, np.nan)], 1)  # the view, unmoved, crops
    rows = Rows()
    rows.add(np.arange(7), {"distance": distance, "chance": chance, "answer": np.zeros((7, 3), int)})
    found = example_arrays(made, rows, images)
    some = example_indices(7)
    assert found["followed"].values.tolist() == ["a", "b"]
    for name, layer in (("shallow", 0), ("deep", 1)):
        assert found[f"each_{name}/row_shift"].sel(amount=3.0).values.tolist() == distance[some, 0, layer].tolist()
        assert found[f"mean_{name}/row_shift"].values.tolist() == [0, distance[:, 0, layer].mean()]
    assert found["each_probability/row_shift"].sel(amount=0.0).values == pytest.approx(chance[some, 1])
    assert found["mean_probability/row_shift"].values == pytest.approx([0.7, 0.3])
    assert found["each_shallow/row_shift"].image.values.tolist() == [str(one) for one in some]


def test_small_copies_are_moved_images() -> None:
    """A horizontal step at row 64 of 128, moved down by 32 rows, at half the size, the border filled with grey."""
    pixels = np.zeros((1, 128, 128, 3), np.uint8)
    pixels[:, 64:] = 200
    images, recipe = mt.Images.tensors(pixels), mt.Recipe(size=(128, 128), crop=1.0, mean=(0.4,) * 3)
    tiles = thumbnails(plan({"row_shift": (-32.0, 0.0, 32.0)}, (128, 128)), recipe, recipe, images, "row_shift", "reflect", [0])
    assert (tiles.shape, tiles.dtype) == ((1, 5, 64, 64, 3), np.uint8)
    edges = [int(np.argmax(tile[:, 5, 0] == 200)) for tile in tiles[0]]
    assert edges[2] == 32 and edges[0] == 16 and edges[4] == 48
