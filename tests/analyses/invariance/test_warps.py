"""Warps against numpy's own shifts and turns, and against a slow loop that reads one pixel after another."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from microtome.analyses.invariance.warps import flip, resample, rotate, scale_images, shift, warp_images, warp_margin

MODES = {"reflect": "mirror", "wrap": "grid-wrap", "mean": "grid-constant"}  # what scipy calls them


@pytest.fixture
def x() -> torch.Tensor:
    """Two random images of 9 x 9 px."""
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rows", "cols"), [(0, 0), (3, 0), (-2, 5), (0, -8)])
def test_whole_shifts_are_exact_copies(x: torch.Tensor, rows: int, cols: int) -> None:
    assert torch.equal(shift(x, rows, cols, "wrap"), x.roll((rows, cols), (2, 3)))
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (8, 8), (8, 8)), mode="reflect")
    assert np.array_equal(shift(x, rows, cols, "reflect").numpy(), padded[:, :, 8 - rows : 17 - rows, 8 - cols : 17 - cols])
    blank = np.pad(x.numpy(), ((0, 0), (0, 0), (8, 8), (8, 8)))
    assert np.array_equal(shift(x, rows, cols, "mean").numpy(), blank[:, :, 8 - rows : 17 - rows, 8 - cols : 17 - cols])


@pytest.mark.parametrize("quarters", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [8, 9])
def test_quarter_turns_are_exact_copies(side: int, quarters: int) -> None:
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    assert torch.equal(rotate(x, 90 * quarters, "mean"), x.rot90(quarters, (2, 3)))  # both counter-clockwise


def test_what_is_not_moved_is_a_copy_all_the_same(x: torch.Tensor) -> None:
    before = x.clone()
    for still in (shift(x, 0, 0, "reflect"), scale_images(x, 1, "reflect")):
        still.zero_()
    assert torch.equal(x, before)


def test_mirrors_and_amounts_that_change_nothing(x: torch.Tensor) -> None:
    assert torch.equal(flip(x, cols=True), x.flip(3))
    assert torch.equal(warp_images(x, "flip", 2, "reflect"), x.flip(2))
    for warp, still in (("row_shift", 0), ("col_shift", 0), ("crop_shift", 0), ("scale", 1), ("rotation", 0), ("flip", 0)):
        assert torch.equal(warp_images(x, warp, still, "reflect"), x), warp


@pytest.mark.parametrize("border", MODES)
def test_broken_amounts_against_scipy(x: torch.Tensor, border: str) -> None:
    middle, angle = 4.0, np.deg2rad(33.0)
    down, across = np.mgrid[:9, :9] - middle
    asked = {
        "shift": (shift(x, 1.25, -0.5, border), (down - 1.25, across + 0.5)),
        "scale": (scale_images(x, 1.3, border), (down / 1.3, across / 1.3)),
        "small": (scale_images(x, 0.7, border), (down / 0.7, across / 0.7)),
        # content turns counter-clockwise on the screen, where rows count downwards
        "turn": (
            rotate(x, 33.0, border),
            (np.cos(angle) * down + np.sin(angle) * across, np.cos(angle) * across - np.sin(angle) * down),
        ),
    }
    for name, (told, (rows, cols)) in asked.items():
        wanted = [
            [map_coordinates(plane, (rows + middle, cols + middle), order=1, mode=MODES[border]) for plane in one]
            for one in x.double().numpy()
        ]
        np.testing.assert_allclose(told.numpy(), wanted, atol=2e-6, err_msg=name)


def test_a_quarter_turn_goes_where_numpy_turns_it() -> None:
    """A mark in the middle of the top row goes to the left: counter-clockwise."""
    x = torch.zeros(1, 3, 9, 9)
    x[:, :, 0, 4] = 1
    assert rotate(x, 90, "mean")[0, 0, 4, 0] == 1
    assert rotate(x, 45, "mean")[0, 0, 1:3, 1:3].sum() > 0.4  # half way, up and left


def test_enlarging_twice_about_the_middle_between_pixels() -> None:
    x = torch.arange(4.0).expand(1, 3, 4, 4)
    # centres lie at -1.5 … 1.5 about the middle; halved, at -0.75 … 0.75, that is at 0.75 … 2.25
    assert torch.allclose(scale_images(x, 2.0, "reflect")[0, 0, 0], torch.tensor([0.75, 1.25, 1.75, 2.25]))


def test_crops_are_cut_from_the_larger_picture() -> None:
    large = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(warp_images(large, "row_shift", 0, "crop", (12, 12)), large[:, :, 2:14, 2:14])
    assert torch.equal(warp_images(large, "crop_shift", 2, "crop", (12, 12)), large[:, :, 4:16, 4:16])  # the window moves
    assert torch.equal(warp_images(large, "row_shift", 2, "crop", (12, 12)), large[:, :, 0:12, 2:14])  # the image moves


@pytest.mark.parametrize(
    ("warp", "amount"), [("row_shift", -5.0), ("crop_shift", 3.0), ("scale", 0.6), ("scale", 1.7), ("rotation", 45.0)]
)
def test_reach_is_enough(warp: str, amount: float) -> None:
    """No pixel of the border may be asked for: a larger image of ones with a rim of NaN beyond the reach stays finite."""
    margin = warp_margin(warp, amount, (12, 10))
    x = torch.full((1, 3, 12 + 2 * margin + 2, 10 + 2 * margin + 2), torch.nan)
    x[:, :, 1:-1, 1:-1] = 1
    told = warp_images(x, warp, amount, "crop", (12, 10))
    assert told.shape[2:] == (12, 10)
    assert torch.equal(told, torch.ones_like(told)) or torch.allclose(told, torch.ones_like(told))
    assert margin % 2 == 0


def test_a_picture_of_one_pixel_has_nothing_to_mirror() -> None:
    x = torch.ones(1, 3, 1, 1)
    assert torch.equal(resample(x, ((1, 0), (0, 1)), (3, -2), "reflect"), x)
