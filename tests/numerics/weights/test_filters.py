"""Spectra of filters: Parseval, planted gratings, flat spectra whose shares are known, and a slow discrete Fourier transform."""

import numpy as np
import pytest
import torch

from microtome.numerics.weights import filters


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def grating(side: int, row: float, col: float) -> torch.Tensor:
    """Two filters of cosine and sine waves of that many cycles per pixel down and across, the same in every colour."""
    at = torch.arange(side) - (side - 1) / 2
    phase = 2 * np.pi * (row * at[:, None] + col * at[None, :])
    return torch.stack([phase.cos(), phase.sin()])[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("shape", [(5, 3, 7, 7), (3, 1, 11, 5), (2, 3, 16, 16), (4, 3, 1, 1)])
def test_parseval(shape: tuple[int, ...]) -> None:
    weight = noise(*shape)
    told = filters.power_spectrum(weight)
    energy = weight.double().square().sum((1, 2, 3))
    torch.testing.assert_close(told.sum((1, 2)), energy, rtol=1e-12, atol=0)
    np.testing.assert_allclose(filters.radial_spectrum(told).sum(1), 1, rtol=1e-12)


def test_power_is_the_square_of_a_slow_transform() -> None:
    weight = noise(1, 2, 3, 4)
    told = filters.power_spectrum(weight)
    size = told.shape[1]
    for row, col in ((0, 0), (3, 7), (size - 5, 12)):
        wanted = 0.0
        for colour in range(2):
            total = sum(
                float(weight[0, colour, r, c]) * np.exp(-2j * np.pi * (row * r + col * c) / size)
                for r in range(3)
                for c in range(4)
            )
            wanted += abs(total) ** 2
        assert told[0, row, col].item() == pytest.approx(wanted / size**2, rel=1e-9)


@pytest.mark.parametrize(("row", "col"), [(0.25, 0.0), (0.0, 0.375), (0.125, 0.25)])
def test_a_planted_grating_is_recovered(row: float, col: float) -> None:
    power = filters.power_spectrum(grating(16, row, col))
    wanted = np.hypot(row, col)
    # a window of 16 px leaks by half a line of 1/16 cycle per pixel at most
    assert filters.peak_frequency(power) == pytest.approx([wanted] * 2, abs=1 / 40)
    middles = filters.frequency_rings(power.shape[1]).middle
    density = filters.radial_spectrum(power)
    assert middles[density.argmax(1)] == pytest.approx([wanted] * 2, abs=0.05)
    assert filters.centre_frequency(power) == pytest.approx([wanted] * 2, abs=0.06)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7, 16])
def test_what_a_stride_folds_of_a_flat_spectrum(stride: int) -> None:
    delta = torch.zeros(1, 3, 7, 7)
    delta[0, 1, 3, 3] = 2.0
    told = filters.energy_above_nyquist(filters.power_spectrum(delta), (stride, stride))
    assert told.tolist() == [pytest.approx(1 - 1 / stride**2, abs=1e-12)]
    sided = filters.energy_above_nyquist(filters.power_spectrum(delta), (stride, 1))
    assert sided.tolist() == [pytest.approx(1 - 1 / stride, abs=1e-12)]


def test_gratings_lie_above_or_below_what_a_stride_carries() -> None:
    fine, coarse = filters.power_spectrum(grating(16, 0.0, 0.375)), filters.power_spectrum(grating(16, 0.0, 0.0625))
    assert filters.energy_above_nyquist(fine, (2, 2)).min() > 0.9  # 0.375 is above 0.25
    assert filters.energy_above_nyquist(coarse, (2, 2)).max() < 0.1
    assert filters.energy_above_nyquist(fine, (2, 1)).max() < 0.1  # rows are coarser, the wave runs across
    # images hold less of what is fine, so that less of the answer to them is folded
    both = filters.power_spectrum(grating(16, 0.0, 0.375) + grating(16, 0.0, 0.0625))
    assert (filters.energy_above_nyquist(both, (2, 2), natural=True) < 0.5 * filters.energy_above_nyquist(both, (2, 2))).all()


def test_rings_cover_the_plane() -> None:
    found = filters.frequency_rings(64)
    assert found.share.sum() == pytest.approx(1)
    # the area of a full ring, 2 pi f df, on a grid of 64 lines
    ring = 6
    width = found.middle[1] - found.middle[0]
    assert found.share[ring] == pytest.approx(2 * np.pi * found.middle[ring] * width, rel=0.06)
    assert found.middle[-1] < np.sqrt(0.5) < found.middle[-1] + width


def test_bands_of_a_flat_spectrum_are_their_areas() -> None:
    share, plane = filters.band_energy(torch.ones(1, 64, 64, dtype=torch.float64), 1 / 8, 1 / 4)
    np.testing.assert_allclose(share[0], plane, rtol=1e-12)
    assert plane == pytest.approx([np.pi / 64, np.pi * 3 / 64, 1 - np.pi / 16], abs=0.006)


def test_colours() -> None:
    grey = noise(1, 1, 5, 5).expand(-1, 3, -1, -1)
    opponent = torch.cat([grey[:, :1], -grey[:, :1], 0 * grey[:, :1]], 1)
    assert filters.grey_energy(torch.cat([grey, opponent])) == pytest.approx([1, 0], abs=1e-12)
    assert filters.grey_energy(noise(4000, 3, 3, 3)).mean() == pytest.approx(1 / 3, abs=0.01)


def test_inner_share_and_rms_by_hand() -> None:
    weight = torch.ones(2, 3, 7, 7)
    assert filters.inner_energy(weight, 5) == pytest.approx(25 / 49)
    weight[:, :, 1:6, 1:6] = 0
    assert filters.inner_energy(weight, 5) == 0
    assert filters.filter_rms(weight).tolist() == [pytest.approx(np.sqrt(24 / 49))] * 2


def test_a_filter_of_zeros_has_no_spectrum() -> None:
    power = filters.power_spectrum(torch.zeros(1, 3, 5, 5))
    for told in (filters.radial_spectrum(power), filters.energy_above_nyquist(power, (2, 2)), filters.peak_frequency(power)):
        assert np.isnan(told).all()
