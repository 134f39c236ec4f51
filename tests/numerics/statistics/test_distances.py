import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from microtome.errors import Unmeasurable
from microtome.numerics.statistics.distances import (
    all_distances,
    w1_over_sigma,
    w1_shape,
    wasserstein1,
)


def kolmogorov_smirnov(a, b):
    return all_distances(a, b)["ks"]


def jensen_shannon(a, b):
    return all_distances(a, b)["js"]


# Whole numbers, so that ties within and between the samples are common.
samples = arrays(np.float64, st.integers(1, 30), elements=st.integers(-5, 5).map(float))


def test_by_hand():
    a, b = np.array([0.0, 1.0]), np.array([1.0, 2.0, 3.0])
    # Quantiles: 0 against 1 for 1/3, 0 against 2 for 1/6, 1 against 2 for 1/6, 1 against 3 for 1/3.
    assert wasserstein1(a, b) == pytest.approx(1 / 3 + 2 / 6 + 1 / 6 + 2 / 3)
    assert kolmogorov_smirnov(a, b) == pytest.approx(2 / 3)  # after 1: all of a, a third of b
    # var a = 1/4, var b = 2/3
    assert w1_over_sigma(a, b) == pytest.approx(1.5 / np.sqrt((1 / 4 + 2 / 3) / 2))


@settings(max_examples=100, deadline=None)
@given(samples, samples)
def test_scipy_and_the_slow_definition_agree(a, b):
    assert wasserstein1(a, b) == pytest.approx(wasserstein_distance(a, b), abs=1e-12)
    steps = [abs((a <= value).mean() - (b <= value).mean()) for value in np.concatenate([a, b])]
    assert kolmogorov_smirnov(a, b) == pytest.approx(max(steps), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(samples, samples)
def test_distances_are_symmetric_zero_for_equal_and_bounded(a, b):
    there, back = all_distances(a, b), all_distances(b, a)
    for name, value in there.items():
        assert value == pytest.approx(back[name], abs=1e-12, nan_ok=True)
    assert 0 <= there["js"] <= 1
    assert 0 <= there["ks"] <= 1
    same = all_distances(a, a)
    assert (same["w1"], same["ks"], same["js"]) == (0, 0, 0)


def test_jensen_shannon_is_scipys_on_equal_mass_bins():
    random = np.random.default_rng(0)
    a, b = random.normal(size=5000), random.normal(0.3, 1.5, size=3000)
    edges = np.sort(np.concatenate([a, b]))[np.arange(1, 64) * 8000 // 64]
    shares = [np.histogram(one, bins=np.concatenate([[-np.inf], edges, [np.inf]]))[0] / len(one) for one in (a, b)]
    assert jensen_shannon(a, b) == pytest.approx(jensenshannon(*shares, base=2) ** 2, abs=1e-12)


def test_disjoint_samples_are_one_bit_apart():
    a, b = np.linspace(0, 1, 640), np.linspace(2, 3, 640)
    assert jensen_shannon(a, b) == pytest.approx(1)
    assert kolmogorov_smirnov(a, b) == 1
    assert wasserstein1(a, b) == pytest.approx(2)


def test_the_shape_does_not_see_scale_and_the_others_do():
    a = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    assert w1_shape(a, 3 * a) < 1e-6
    assert w1_over_sigma(a, 3 * a) > 0.3
    # Laplace against Gauss, both of unit variance: E|X| is 1/sqrt 2 against sqrt(2/pi).
    laplace = np.random.default_rng(1).laplace(size=100_000)
    gauss = np.random.default_rng(2).standard_normal(100_000)
    scaled = wasserstein_distance(laplace / laplace.std(), gauss / gauss.std())
    assert w1_shape(laplace, gauss) == pytest.approx(scaled, rel=1e-9)


def test_scale_and_shift_carry_over():
    random = np.random.default_rng(3)
    a, b = random.normal(size=300), random.gamma(2, size=200)
    assert wasserstein1(5 * a + 1, 5 * b + 1) == pytest.approx(5 * wasserstein1(a, b))
    for distance in (w1_over_sigma, kolmogorov_smirnov, jensen_shannon):
        assert distance(5 * a + 1, 5 * b + 1) == pytest.approx(distance(a, b), abs=1e-12)


def test_all_distances_are_the_single_ones():
    random = np.random.default_rng(4)
    a, b = random.normal(size=400).astype(np.float32), random.normal(size=700).astype(np.float32)
    found = all_distances(a, b)
    singles = (wasserstein1(a, b), w1_over_sigma(a, b), w1_shape(a, b))
    assert tuple(found.values())[:3] == pytest.approx(singles)
    assert found["ks"] == pytest.approx(ks_2samp(a, b).statistic)
    assert list(found) == ["w1", "w1_over_sigma", "w1_shape", "ks", "js"]


def test_constants_have_no_sigma_and_no_shape():
    constant = np.full(10, 0.1, dtype=np.float32)
    assert np.isnan(w1_shape(constant, np.arange(5.0)))
    assert np.isnan(w1_over_sigma(np.zeros(3), np.zeros(4)))


@pytest.mark.parametrize("bad", [np.array([]), np.array([1.0, np.nan]), np.array([np.inf])])
def test_empty_and_not_finite_samples_are_refused(bad):
    for distance in (wasserstein1, w1_over_sigma, w1_shape, kolmogorov_smirnov, jensen_shannon, all_distances):
        with pytest.raises(Unmeasurable):
            distance(bad, np.arange(3.0))
