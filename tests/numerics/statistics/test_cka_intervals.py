"""Intervals of CKA: the closed jackknife against leaving images out for good, unknown ends, and what the benchmark counts."""

import numpy as np
import pytest
import torch
from scipy.stats import t

from cka_oracle import debiased_cka
from microtome.numerics.statistics.cka import gram_matrix, u_centered
from microtome.numerics.statistics.cka_intervals import MIN_IMAGES, all_pairs_cka, grouped_cka, row_products


def features(count, seed=0):
    random = np.random.default_rng(seed)
    one = random.normal(size=(count, 9))
    return torch.from_numpy(one), torch.from_numpy(one[:, :6] + 0.8 * random.normal(size=(count, 6)))


def products(both):
    grams = torch.stack([u_centered(gram_matrix(one)) for one in both])
    return row_products(grams, grams).numpy()


def explicit_cka(first, second):
    """Song et al. 2012, eq. 5, written out with sums over a Gram matrix of each image's features, in NumPy alone."""

    def hsic(a, b):
        n = len(a)
        k, m = a @ a.T, b @ b.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        return np.trace(k @ m) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * k.sum(0) @ m.sum(1)

    return hsic(first, second) / np.sqrt(hsic(first, first) * hsic(second, second))


@pytest.mark.parametrize("count", [5, 6, 20, 70])
def test_the_jackknife_is_what_leaving_out_each_image_gives(count):
    both = features(count)
    p = products(both)
    found = all_pairs_cka(p[0, 1], p[0, 0], p[1, 1])
    plain = [one.numpy() for one in both]
    assert float(found.value) == pytest.approx(explicit_cka(*plain), abs=1e-12)
    left = np.array([explicit_cka(*(np.delete(one, out, 0) for one in plain)) for out in range(count)])
    error = np.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    assert float(found.error) == pytest.approx(error, rel=1e-6, nan_ok=True)
    if count >= MIN_IMAGES:
        assert float(found.low) == pytest.approx(float(found.value) - t.ppf(0.975, count - 1) * error, rel=1e-9)
    else:
        assert np.isnan(found.low) and np.isnan(found.high)


def test_groups_are_left_out_one_by_one():
    parts = [products(features(16, seed)).sum(-1) for seed in range(5)]
    sums = np.stack(parts)
    found = grouped_cka(sums[:, 0, 1], sums[:, 0, 0], sums[:, 1, 1], images=80)

    def ratio(kept):
        total = sums[kept].sum(0)
        return total[0, 1] / np.sqrt(total[0, 0] * total[1, 1])

    left = np.array([ratio([g for g in range(5) if g != out]) for out in range(5)])
    half = t.ppf(0.975, 4) * np.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum())
    assert float(found.value) == pytest.approx(ratio(list(range(5))), abs=1e-12)
    assert [float(found.low), float(found.high)] == pytest.approx([found.value - half, min(found.value + half, 1.0)], abs=1e-9)
    for few, images in ((2, 80), (5, 63)):
        unknown = grouped_cka(sums[:few, 0, 1], sums[:few, 0, 0], sums[:few, 1, 1], images=images)
        assert np.isnan(unknown.low) and np.isfinite(unknown.value)
    assert np.isnan(grouped_cka(sums[:1, 0, 1], sums[:1, 0, 0], sums[:1, 1, 1], images=80).error)


def test_row_products_are_those_of_every_pair_of_layers():
    grams = torch.stack([u_centered(gram_matrix(one)) for one in (*features(8), *features(8, 1))])
    found = row_products(grams, grams[:2])
    assert found.shape == (4, 2, 8)
    assert torch.allclose(found[3, 1], (grams[3] * grams[1]).sum(1))


def test_values_are_those_of_debiased_cka_and_an_interval_ends_at_one():
    both = features(80)
    p = products(both)
    own = np.einsum("aai->ai", p)
    found = all_pairs_cka(p, own[:, None], own[None, :])
    assert found.value[0, 1] == pytest.approx(float(debiased_cka(*both)), abs=1e-12)
    assert (
        np.diagonal(found.value) == pytest.approx(1, abs=1e-12) and (found.high <= 1).all() and (found.low <= found.value).all()
    )
    still = np.zeros(80)
    assert np.isnan(all_pairs_cka(still, p[0, 0], still).value)


def test_coverage_near_nominal():
    """300 sets of 64 images from features whose population CKA is known: 95% with a standard error of 1.3."""
    from benchmarks.coverage_cka import rows, synthetic_populations

    population = synthetic_populations()[0]
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        p = products([torch.from_numpy(one) for one in population.draw(random, 64)])
        found = all_pairs_cka(p[0, 1], p[0, 0], p[1, 1])
        held += bool(found.low <= population.cka <= found.high)
    assert 0.91 <= held / 300 <= 0.99
    assert callable(rows)
