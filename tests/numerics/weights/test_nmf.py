"""One-sided factorisation against scikit-learn's objective, exact cases, and what must not depend on anything."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.decomposition import NMF

from microtome.numerics.weights import nmf
from microtome.numerics.weights.nmf import factorise, split_signs

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[3] / "shared" / "data"))


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def theirs(kernels):
    """scikit-learn's squared error of each unit, at its defaults."""
    found = []
    for values in split_signs(kernels).numpy():
        model = NMF(n_components=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it does not always converge in 200 rounds
            model.fit(values)
        found.append(model.reconstruction_err_**2)
    return np.array(found)


@pytest.mark.parametrize(("channels", "positions"), [(48, 25), (96, 9), (3, 49), (16, 4)])
def test_the_objective_is_scikit_learns_within_a_hundredth_on_random_kernels(channels, positions):
    kernels = random(24, channels, positions)
    own, other = factorise(kernels).error.numpy(), theirs(kernels)
    assert own.sum() <= 1.01 * other.sum()
    assert (own <= 1.05 * other).all()  # one unit may end in a neighbouring minimum


@pytest.mark.skipif(not DATA.exists(), reason=f"real networks are not at {DATA} (set MICROTOME_DATA)")
@pytest.mark.parametrize("layer", ["inception5b.branch3.1.conv", "inception5b.branch2.1.conv", "inception3a.branch3.1.conv"])
def test_the_objective_is_scikit_learns_within_a_hundredth_on_real_kernels(layer):
    kernels = load_file(DATA / "safetensors" / "googlenet_bvlc.safetensors")[f"{layer}.weight"].flatten(2)[:32]
    own, other = factorise(kernels).error.numpy(), theirs(kernels)
    assert own.sum() <= 1.01 * other.sum()
    assert (own <= 1.01 * other).mean() > 0.9


def test_the_error_told_is_that_of_the_product():
    kernels = random(5, 7, 9)
    maps, loadings, error = factorise(kernels)
    assert maps.shape == (5, 9, 3)
    assert loadings.shape == (5, 3, 14)
    assert (maps >= 0).all()
    assert (loadings >= 0).all()
    assert torch.allclose((split_signs(kernels) - maps @ loadings).square().sum((1, 2)), error, rtol=1e-5)
    assert (error < split_signs(kernels).square().sum((1, 2))).all()


def test_both_signs_are_kept_apart():
    parts = split_signs(torch.tensor([[[1.0, -2.0], [0.0, 3.0]]]))
    assert parts.tolist() == [[[1, 0, 0, 0], [0, 3, 2, 0]]]  # position by (positive channels, negative channels)


def test_a_kernel_of_three_maps_is_found_exactly():
    """Three maps without overlap times signed loadings: the only factorisation, up to order."""
    maps = torch.zeros(3, 9)
    maps[0, :3], maps[1, 3:6], maps[2, 6:] = torch.tensor([1.0, 2, 3]), 1.0, torch.tensor([3.0, 0, 1])
    kernels = (random(20, 3, seed=1) @ maps)[None]
    found = factorise(kernels, tolerance=1e-9)
    assert float(found.error) < 1e-6 * float(kernels.square().sum())
    alike = torch.nn.functional.normalize(found.maps[0].T, dim=1) @ torch.nn.functional.normalize(maps, dim=1).T
    assert alike.amax(1).tolist() == pytest.approx([1, 1, 1], abs=1e-4)
    assert sorted(alike.argmax(1).tolist()) == [0, 1, 2]
    norms = torch.linalg.vector_norm(found.maps, dim=1), torch.linalg.vector_norm(found.loadings, dim=2)
    assert torch.allclose(*norms, rtol=1e-5)  # the two sides of a factor weigh the same


def test_maps_scale_with_the_root_and_do_not_turn_with_the_sign():
    kernels = random(4, 16, 9)
    once = factorise(kernels).maps
    assert torch.allclose(factorise(4e-6 * kernels).maps, 2e-3 * once, rtol=1e-3, atol=1e-6)
    assert torch.allclose(factorise(-kernels).error, factorise(kernels).error, rtol=0.02)


def test_chunks_do_not_change_units_much_and_runs_not_at_all(monkeypatch):
    kernels = random(40, 24, 9)
    whole = factorise(kernels)
    assert torch.equal(whole.maps, factorise(kernels).maps)
    monkeypatch.setattr(nmf, "CHUNK", 2 * 24 * 9 * 7)
    parts = factorise(kernels)
    assert float(parts.error.sum()) == pytest.approx(float(whole.error.sum()), rel=1e-3)


def test_zero_constant_and_narrow_kernels():
    kernels = random(3, 8, 9)
    kernels[1] = 0
    kernels[2] = 0.25
    maps, loadings, error = factorise(kernels)
    assert not maps[1].any()
    assert not loadings[1].any()
    assert float(error[1]) == 0
    assert float(error[2]) < 1e-8
    assert torch.isfinite(maps).all()
    narrow = factorise(random(2, 1, 9))  # two columns: rank 2, the third factor is left over
    assert float(narrow.error.max()) < 1e-4
    assert factorise(random(0, 8, 9)).maps.shape == (0, 9, 3)


def test_memory_is_bounded_by_the_chunk(monkeypatch):
    seen = []
    plain = nmf._factorise_chunk
    monkeypatch.setattr(nmf, "_factorise_chunk", lambda whole, *rest: (seen.append(whole.numel()), plain(whole, *rest))[1])
    factorise(random(4096, 8, 9))
    assert max(seen) <= nmf.CHUNK
    assert sum(seen) == 4096 * 2 * 8 * 9
