"""ROAD's imputation against a dense linear solve, its accuracy at the default tolerance, and its limits."""

import numpy as np
import pytest
import torch

from microtome.numerics.maps.imputation import NOISE, TOLERANCE, linear_imputation, noisy_linear_imputation


def solve_densely(x: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """One image (rgb, row, col): the equations of ROAD written out, one row for each removed pixel."""
    filled = x.copy()
    places = [tuple(place) for place in np.argwhere(removed)]
    number = {place: at for at, place in enumerate(places)}
    left, right = np.zeros((len(places), len(places))), np.zeros((len(places), x.shape[0]))
    for at, (row, col) in enumerate(places):
        for down in (-1, 0, 1):
            for over in (-1, 0, 1):
                other = (row + down, col + over)
                if (down, over) == (0, 0) or not (0 <= other[0] < x.shape[1] and 0 <= other[1] < x.shape[2]):
                    continue
                weight = 1 / 6 if 0 in (down, over) else 1 / 12
                left[at, at] += weight
                if other in number:
                    left[at, number[other]] -= weight
                else:
                    right[at] += weight * x[:, other[0], other[1]]
    for (row, col), value in zip(places, np.linalg.solve(left, right), strict=True):
        filled[:, row, col] = value
    return filled


@pytest.mark.parametrize("size", [(16, 16), (19, 13), (9, 30)])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_equals_a_dense_solve(size: tuple[int, int], fraction: float) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *size, generator=draw).double()
    removed = torch.rand(2, *size, generator=draw) < fraction
    removed[1] = False
    removed[1, : round(fraction * size[0])] = True  # one large hole
    filled = linear_imputation(x, removed, tolerance=1e-12)
    for image in range(2):
        wanted = solve_densely(x[image].numpy(), removed[image].numpy())
        assert np.abs(filled[image].numpy() - wanted).max() < 1e-9
    assert torch.equal(filled.where(~removed[:, None], 0.0), x.where(~removed[:, None], 0.0))


def test_the_default_tolerance_is_below_the_noise() -> None:
    draw = torch.Generator().manual_seed(1)
    x = torch.nn.functional.interpolate(torch.randn(2, 3, 12, 12, generator=draw), size=(96, 96), mode="bicubic")
    removed = torch.ones(2, 96, 96, dtype=torch.bool)
    removed[:, 8:20, 70:90] = False
    exact = linear_imputation(x.double(), removed, tolerance=1e-12)
    error = (linear_imputation(x, removed) - exact).abs().max()
    assert 0 < float(error) < TOLERANCE * float(x.std())


def test_a_constant_image_stays_constant_and_nothing_removed_changes_nothing() -> None:
    x = torch.full((1, 3, 20, 20), 0.7, dtype=torch.float64)
    removed = torch.zeros(1, 20, 20, dtype=torch.bool)
    assert torch.equal(linear_imputation(x, removed), x)
    removed[:, 2:19, 1:18] = True
    assert float((linear_imputation(x, removed, 1e-12) - 0.7).abs().max()) < 1e-9


def test_an_image_of_which_nothing_is_left_is_zero() -> None:
    x = torch.ones(2, 3, 8, 8)
    removed = torch.ones(2, 8, 8, dtype=torch.bool)
    removed[1, 0, 0] = False
    filled = linear_imputation(x, removed, 1e-6)
    assert not filled[0].any() and float((filled[1] - 1).abs().max()) < 1e-4


def test_noise_lies_on_removed_pixels_alone_and_has_its_spread() -> None:
    x = torch.zeros(1, 3, 64, 64)
    removed = torch.zeros(1, 64, 64, dtype=torch.bool)
    removed[:, :32] = True
    noisy = noisy_linear_imputation(x, removed, seed=3)
    assert not noisy[:, :, 32:].any() and float(noisy[:, :, :32].std()) == pytest.approx(NOISE, rel=0.05)
    assert torch.equal(noisy, noisy_linear_imputation(x, removed, seed=3))
