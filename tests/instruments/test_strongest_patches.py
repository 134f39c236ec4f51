"""The strongest places of units: against plain sorting, windows and patches by hand, and units chosen by every rule."""

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome.instruments.strongest_patches import (
    PatchWindow,
    choose_units,
    crop_patch,
    crop_patches,
    grid_position,
    mean_colour,
    patch_windows,
    shrunk_size,
    strongest_activations,
)


@pytest.fixture(scope="module")
def strided() -> mt.Specimen:
    """3 x 3 at stride 2 without padding: position j sees pixels 2j to 2j + 2, is centred on 2j + 1."""
    return mt.open(
        nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()).eval(), recipe={"size": (9, 13), "mean": (0.5, 0.0, 1.0)}
    )


@pytest.mark.parametrize("per_image", [1, 3])
def test_largest_activations_against_sorting(strided: mt.Specimen, per_image: int) -> None:
    value = torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    values, cells = strongest_activations(strided.layer("0"), value, per_image)
    flat = value.numpy().reshape(2, 4, 24)
    for rank in range(per_image):
        for image in range(2):
            order = np.argsort(-flat[image], axis=1)[:, rank]
            assert cells[rank * 2 + image].tolist() == order.tolist()
            assert values[rank * 2 + image].tolist() == [flat[image, unit, at] for unit, at in enumerate(order)]


@pytest.mark.parametrize("per_image", [1, 2])
def test_what_is_not_a_number_is_never_the_largest(strided: mt.Specimen, per_image: int) -> None:
    value = torch.full((1, 4, 4, 6), float("nan"))
    value[0, 0, 1, 2] = -5.0
    values, cells = strongest_activations(strided.layer("0"), value, per_image)
    assert (values[0, 0], cells[0, 0]) == (-5.0, 8)
    assert np.isnan(values).sum() == 4 * per_image - 1


def test_windows_lie_about_each_position(strided: mt.Specimen) -> None:
    window = patch_windows(strided, ["0"])["0"]
    assert (window.size, window.grid, window.picture, window.whole, window.exact) == ((3, 3), (4, 6), (9, 13), False, True)
    assert (window.box(0, 0), window.box(3, 5)) == ((0, 3, 0, 3), (6, 9, 10, 13))
    assert window.centre(1, 2) == (3.0, 5.0)
    assert window.cell(1, 2) == (2.5, 4.5, 4.5, 6.5)


def test_a_vector_has_the_whole_image_for_its_window() -> None:
    net = mt.open(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)).eval(), recipe={"size": 4})
    window = patch_windows(net, ["1"])["1"]
    assert (window.size, window.whole, window.field, window.exact) == ((4, 4), True, None, True)
    assert (window.box(0, 0), window.centre(0, 0)) == ((0, 4, 0, 4), (1.5, 1.5))


def test_patches_are_cut_out_and_filled_beyond_the_border() -> None:
    padded = mt.open(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1)).eval(), recipe={"size": (4, 5)})
    window = patch_windows(padded, ["0"])["0"]
    pixels = np.arange(4 * 5 * 3).reshape(4, 5, 3)
    wide = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), constant_values=-7)
    for row, col in ((0, 0), (0, 4), (3, 0), (3, 4), (2, 2)):
        assert np.array_equal(crop_patch(pixels, window, row, col, (-7, -7, -7)), wide[row : row + 3, col : col + 3])


def test_patches_of_units_are_cut_from_their_images_and_the_rest_is_mean_colour(strided: mt.Specimen) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 9, 13, 3), np.uint8)
    images = mt.Images.tensors(x)
    recipe = mt.Recipe(size=(9, 13), crop=1.0, mean=(0.5, 0.0, 1.0))
    window = patch_windows(strided, ["0"])["0"]
    image, cell = np.array([[2, -1], [0, 1]]), np.array([[7, -1], [0, 23]])  # (rank, unit)
    made = crop_patches(images, recipe, window, image, cell, 8)
    assert made.shape == (2, 2, 3, 3, 3)
    assert np.array_equal(made[0, 0], x[2, 2:5, 2:5]) and np.array_equal(made[0, 1], x[0, :3, :3])
    assert np.array_equal(made[1, 1], x[1, 6:, 10:])
    assert made[1, 0].reshape(-1, 3).tolist() == [[128, 0, 255]] * 9 == [mean_colour(recipe)] * 9


LIVE = np.array([[0, 0, -1, 2, 0], [2, 1, -1, 3, -1]])  # (rank, unit): unit 2 never fired
VALUE = np.where(LIVE < 0, np.nan, [[1.0, 5.0, 0.0, 3.0, 4.0], [0.5, 2.0, 0.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("sort", "count", "labels", "units"),
    [
        ("first", 3, None, [0, 1, 3]),
        ("first", 9, None, [0, 1, 3, 4, 2]),
        ("strong", 4, None, [1, 4, 3, 0]),
        ("spread", 2, None, [0, 4]),
        ("spread", 5, None, [0, 1, 3, 4, 2]),
        ("selective", 2, None, [0, 4]),
        ("selective", 2, np.array([0, 0, 1, 1]), [1, 3]),  # units 1 and 3 show one class only
    ],
)
def test_units_are_chosen_by_each_rule_and_silent_ones_come_last(sort, count, labels, units) -> None:
    assert choose_units(sort, count, VALUE, LIVE, labels).tolist() == units


def test_sizes_and_places() -> None:
    assert [shrunk_size(size, 10) for size in ((5, 8), (20, 40), (40, 10), (1000, 1))] == [(5, 8), (5, 10), (10, 2), (10, 1)]
    window = PatchWindow((9, 13), (3, 3), (4, 6), None)
    rows, cols = grid_position(window, np.array([0, 5, 6, 23, -1]))
    assert (rows.tolist(), cols.tolist()) == ([0, 0, 1, 3, -1], [0, 5, 0, 5, -1])
