"""Noise: mean and spread as the definitions say, on grey images that nothing cuts off."""

import numpy as np
import pytest
import torch

from microtome.images.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise

GREY = torch.full((1, 3, 200, 200), 0.4)


def draws(seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng(seed)]


def test_gaussian_and_speckle_noise() -> None:
    noisy = gaussian_noise(GREY, 3, draws())
    assert (noisy.mean().item(), noisy.std().item()) == (pytest.approx(0.4, abs=2e-3), pytest.approx(0.18, rel=0.01))
    speckled = speckle_noise(GREY, 3, draws())
    assert speckled.std().item() == pytest.approx(0.35 * 0.4, rel=0.01)
    assert (speckle_noise(GREY * 0, 5, draws()) == 0).all()
    assert torch.allclose((gaussian_noise(GREY, 5, draws()) - GREY) / 0.38, (noisy - GREY) / 0.18, atol=1e-5)  # one draw


def test_shot_noise_counts_photons() -> None:
    noisy = shot_noise(GREY, 2, draws())
    assert torch.allclose(noisy * 25, (noisy * 25).round(), atol=1e-4)
    assert (noisy.mean().item(), noisy.var().item()) == (pytest.approx(0.4, abs=2e-3), pytest.approx(0.4 / 25, rel=0.02))


def test_impulses_are_black_or_white_half_each() -> None:
    noisy = impulse_noise(GREY, 5, draws())
    assert noisy.unique().tolist() == pytest.approx([0.0, 0.4, 1.0])
    assert (noisy == 0).float().mean().item() == pytest.approx(0.135, abs=3e-3)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.135, abs=3e-3)
