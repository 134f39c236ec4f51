"""Numbers of effective receptive fields: planted Gaussians, masses counted by hand, rules that must add up."""

import numpy as np
import pytest
import torch

from microtome.numerics.receptive.effective import (
    area_ratio,
    center_of_mass,
    fit_gaussian,
    fraction_holding,
    judge,
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
    assert ours.r2 == pytest.approx(1 - (left**2).mean() / field.var(), abs=1e-6)
    assert ours.published_r2 == pytest.approx(1 - left.var() / field.var(), abs=1e-6)
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


def test_r2_is_one_minus_sse_over_sst_and_a_spike_on_a_plain_is_no_fit():
    """A plain of 1 with one pixel of 21 on 31 x 31. The spike leaves a residual of 1 on 960 pixels.

    Mean 1 + 20 / 961, so SST = 20² - 20² / 961 = 399.58; SSE = 960, R² = 1 - 960 / 399.58 = -1.40. Its residual is flat, so that
    1 - var(residual) / var(field) is about 1. The spike is 21 of 981 of the mass. With a constant fitted, both say 1.
    """
    field = np.ones((31, 31))
    field[15, 15] = 21.0
    spike = planted((31, 31), (15, 15), (0.05, 0.05))
    judged = judge(field, (spike - field / 21).ravel(), [1.0, 15.0, 15.0, 0.05, 0.05])
    assert judged.r2 == pytest.approx(1 - 960 / (400 - 400 / 961))
    assert judged.published_r2 > 0.99
    assert judged.inside == pytest.approx(21 / 981)
    own = fit_gaussian(field)
    assert own.r2 < 0.1  # the best Gaussian is hardly better than a constant, whatever the other R² says
    lifted = fit_gaussian(field, offset=True)
    assert lifted.r2 == pytest.approx(1.0, abs=1e-3)
    assert lifted.published_r2 == pytest.approx(lifted.r2, abs=1e-6)
    assert lifted.offset == pytest.approx(1 / 21, abs=1e-3)
    assert lifted.inside < 0.05


def test_the_start_with_the_least_squared_error_is_kept():
    """A narrow bell on a broad plain: by the published R² the narrow fit wins, by the squared error the broad one."""
    field = planted((41, 41), (20, 20), (1.0, 1.0)) + 0.5 * planted((41, 41), (20, 20), (30.0, 30.0))
    found = fit_gaussian(field)
    assert min(found.sigma) > 10
    grid = np.indices((41, 41))

    def squares(sigma):
        bell = np.exp(-((grid - 20) ** 2).sum(0) / (2 * sigma**2))
        return float(((bell * (bell * field).sum() / (bell**2).sum() - field) ** 2).sum())

    total = float(((field - field.mean()) ** 2).sum())
    assert found.r2 == pytest.approx(1 - min(squares(sigma) for sigma in np.linspace(0.5, 60, 400)) / total, abs=1e-3)


def test_a_gaussian_holds_98_9_per_cent_within_three_sigmas():
    """1 - exp(-9 / 2), for any two standard deviations."""
    found = fit_gaussian(planted((121, 161), (60, 80), (9.0, 13.0)))
    assert found.inside == pytest.approx(1 - np.exp(-4.5), abs=1e-3)
    assert (found.r2, found.published_r2) == pytest.approx((1.0, 1.0))


def test_offset_is_found_with_its_gaussian():
    found = fit_gaussian(planted((48, 96), (10.5, 70.25), (3.0, 14.0)) + 0.25, offset=True)
    assert found.sigma == pytest.approx((3.0, 14.0), rel=1e-4)
    assert found.offset == pytest.approx(0.25 / 1.25, rel=2e-2)  # as a fraction of the maximum, which lies near the peak
