"""Numbers of effective receptive fields: planted Gaussians, masses counted by hand, rules that must add up."""

import numpy as np
import pytest
import torch

from microtome.numerics.receptive.effective import (
    area_ratio,
    center_of_mass,
    fit_gaussian,
    fraction_holding,
    mass_within_radius,
    replknet_scale,
    sum_gradients,
)


def planted(shape, center, sigma):
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    return np.exp(-((rows - center[0]) ** 2) / (2 * sigma[0] ** 2) - (cols - center[1]) ** 2 / (2 * sigma[1] ** 2))


@pytest.mark.parametrize(
    ("shape", "center", "sigma"),
    [((64, 64), (31.0, 31.0), (5.0, 9.0)), ((48, 96), (10.5, 70.25), (3.0, 14.0)), ((64, 64), (31.0, 31.0), (60.0, 80.0))],
)
def test_planted_gaussians_are_found(shape, center, sigma):
    found = fit_gaussian(3e-7 * planted(shape, center, sigma))
    assert found.center == pytest.approx(center, abs=1e-4)
    assert found.sigma == pytest.approx(sigma, rel=1e-5)
    assert found.r2 == pytest.approx(1.0)


def test_fit_is_that_of_scipy_and_noise_lowers_its_share():
    """The slow twin: curve_fit without derivatives, from the truth."""
    from scipy.optimize import curve_fit

    generator = np.random.default_rng(0)
    field = planted((40, 40), (20.0, 18.0), (4.0, 6.0)) * generator.uniform(0, 2, (40, 40))
    grid = np.indices((40, 40)).reshape(2, -1)

    def bell(at, amp, r, c, sr, sc):
        return amp * np.exp(-((at[0] - r) ** 2) / (2 * sr**2) - (at[1] - c) ** 2 / (2 * sc**2))

    theirs, _ = curve_fit(bell, grid, field.ravel(), p0=(1, 20, 18, 4, 6))
    ours = fit_gaussian(field)
    assert (*ours.center, *ours.sigma) == pytest.approx(theirs[1:], rel=1e-4)
    left = bell(grid, *theirs) - field.ravel()
    assert ours.r2 == pytest.approx(1 - left.var() / field.var(), abs=1e-6)
    assert 0.4 < ours.r2 < 0.9


def test_what_is_no_bell_is_said_to_be_none():
    noise = np.random.default_rng(1).uniform(0, 1, (32, 32))
    assert fit_gaussian(noise).r2 < 0.1
    assert np.isnan(fit_gaussian(np.zeros((8, 8))).r2)
    assert np.isnan(fit_gaussian(np.full((8, 8), np.nan)).sigma).all()


def test_masses_by_hand():
    field = np.zeros((9, 9))
    field[4, 4], field[4, 6], field[0, 4] = 0.5, -0.3, 0.2
    assert center_of_mass(field) == pytest.approx((0.8 * 4, 4 + 0.3 * 2))
    assert mass_within_radius(field, (4, 4), (0, 2, 3.9, 4)).tolist() == pytest.approx([0.5, 0.8, 0.8, 1.0])
    assert area_ratio(field, (4, 4), (0.2, 0.5, 0.7, 0.9)).tolist() == pytest.approx([1 / 81, 25 / 81, 25 / 81, 1.0])
    assert fraction_holding(field, 0.5) == pytest.approx(1 / 81)
    assert fraction_holding(field, 0.95) == pytest.approx(3 / 81)
    assert np.isnan(fraction_holding(np.zeros((3, 3)), 0.5))


def test_area_of_squares_cut_by_the_edge():
    even = np.ones((4, 8))
    assert area_ratio(even, (0, 0), (0.1,)).tolist() == pytest.approx([4 / 32])  # 2 x 2 holds 12.5 %
    assert area_ratio(even, (2, 4), (0.99,)).tolist() == [1.0]


def test_rules_add_up():
    slope = torch.randn(5, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    relu, absolute, signed, square = (sum_gradients(slope, rule) for rule in ("relu", "abs", "signed", "square"))
    assert torch.allclose(absolute, 2 * relu - signed)
    mean = slope.double().mean(1)
    assert torch.allclose(square, (mean**2).sum(0))
    assert torch.allclose(relu, torch.stack([one.clamp_min(0) for one in mean]).sum(0))
    assert torch.allclose(sum_gradients(slope, "replknet"), slope.double().clamp_min(0).sum((0, 1)))
    assert (
        sum_gradients(slope, "replknet") >= 3 * relu - 1e-12
    ).all()  # the positive part before the colours are added is larger


def test_replknet_scale():
    assert replknet_scale(np.array([[0.0, 9.0], [99.0, -5.0]])).tolist() == [[0.0, 0.5], [1.0, 0.0]]
