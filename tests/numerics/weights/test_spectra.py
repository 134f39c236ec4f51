import numpy as np
import pytest
import torch
from scipy import stats

from microtome.errors import Unmeasurable
from microtome.numerics.weights.spectra import (
    distinct_values,
    find_comb,
    histogram,
    is_finite,
    mean_and_std,
    singular_values,
    stable_rank,
    weight_statistics,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (40, 3, 2, 2), (16, 16), (8, 1, 3, 3), (1, 5)])
def test_singular_values_are_those_of_the_matrix(shape):
    weight = random(*shape)
    flat = weight.flatten(1).double().numpy()
    assert singular_values(weight).numpy() == pytest.approx(np.linalg.svd(flat, compute_uv=False), abs=1e-6)


def test_stable_rank_by_hand():
    assert stable_rank(torch.diag(torch.tensor([2.0, 1.0, 1.0]))) == pytest.approx(6 / 4)
    assert stable_rank(torch.eye(5) * 3) == pytest.approx(5)
    assert stable_rank(random(6, 1) @ random(1, 7, seed=1)) == pytest.approx(1, abs=1e-6)
    assert np.isnan(stable_rank(torch.zeros(3, 4)))


def test_statistics_by_hand_and_by_scipy():
    # -2, 0, 0, 2: variance 2, fourth moment 8, so kurtosis 8/4 - 3 = -1; two of four are zero.
    found = weight_statistics(torch.tensor([-2.0, 0, 0, 2]))
    expected = {"mean": 0, "std": 2**0.5, "skew": 0, "kurtosis": -1, "sparsity": 0.5, "minimum": -2, "maximum": 2}
    assert found == pytest.approx(expected)
    weight = random(50, 40).exp()
    found = weight_statistics(weight)
    values = weight.double().numpy().ravel()
    assert found["skew"] == pytest.approx(stats.skew(values))
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(values))
    assert found["std"] == pytest.approx(values.std())


def test_a_constant_has_no_skew():
    found = weight_statistics(torch.full((9,), 0.1))
    assert found["std"] == 0
    assert np.isnan(found["skew"])
    assert np.isnan(found["kurtosis"])
    assert weight_statistics(torch.zeros(4))["sparsity"] == 1


def test_weights_that_are_not_finite_are_refused():
    with pytest.raises(Unmeasurable, match="not finite"):
        weight_statistics(torch.tensor([1.0, torch.nan]))
    with pytest.raises(Unmeasurable):
        histogram(torch.tensor([]))


def test_moments_of_more_values_than_are_looked_at_together():
    values = np.random.default_rng(0).exponential(size=100_003).astype(np.float32)
    found = weight_statistics(torch.from_numpy(values))
    exact = values.astype(np.float64)
    assert found["std"] == pytest.approx(exact.std(), rel=1e-12)
    assert found["skew"] == pytest.approx(stats.skew(exact), rel=1e-10)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(exact), rel=1e-10)
    assert found["sparsity"] == (exact < 1e-3 * exact.std()).mean() > 0
    assert mean_and_std(torch.from_numpy(values)) == pytest.approx((exact.mean(), exact.std()), rel=1e-12)


def test_what_is_finite():
    assert is_finite(torch.zeros(0)) and is_finite(random(3, 4)) and is_finite(torch.tensor([3e38, -3e38]))
    for odd in (torch.nan, torch.inf, -torch.inf):
        for place in (0, 5, 11):
            values = random(12)
            values[place] = odd
            assert not is_finite(values.view(3, 4))


def test_histogram_counts_as_numpy_does():
    values = torch.cat([random(4000), torch.linspace(-2, 2, 17).repeat(5)])  # many on the very edges
    for limits in (None, (-2.0, 2.0), (-0.1, 0.7)):
        counts, edges = np.histogram(values.double().numpy(), bins=16, range=limits)
        density, centres = histogram(values, 16, limits)
        assert np.array_equal(density, counts / (len(values) * np.diff(edges)))
        assert np.array_equal(centres, (edges[1:] + edges[:-1]) / 2)


def test_histogram_is_a_density_of_all_values():
    density, centres = histogram(torch.tensor([0.0, 1, 1, 2, 4]), bins=4)
    assert density.tolist() == pytest.approx([0.2, 0.4, 0.2, 0.2])
    assert centres.tolist() == pytest.approx([0.5, 1.5, 2.5, 3.5])
    within, _ = histogram(torch.tensor([0.0, 1, 1, 2, 4]), bins=4, limits=(0, 2))
    assert within.sum() * 0.5 == pytest.approx(0.8)  # the 4 lies outside
    constant, middle = histogram(torch.ones(3), bins=3)
    assert constant.tolist() == pytest.approx([0, 3, 0])
    assert middle[1] == pytest.approx(1)


def quantised(weight, step):
    return (weight / step).round().clamp(-127, 127) * step


def test_one_step_for_the_tensor_is_found():
    weight = random(32, 16, 3, 3) * 0.02
    step = float(weight.abs().max() / 127)
    found = find_comb(quantised(weight, step))
    assert found.kind == "per tensor"
    assert found.levels == 127
    assert found.step == pytest.approx(step, rel=1e-5)
    assert found.distinct == distinct_values(quantised(weight, step)) <= 255


def test_one_step_for_each_channel_is_found():
    weight = random(32, 16, 3, 3) * torch.logspace(-3, 0, 32)[:, None, None, None]
    steps = weight.abs().amax((1, 2, 3), keepdim=True) / 127
    found = find_comb(quantised(weight, steps))
    assert found.kind == "per channel"
    assert found.share == 1
    assert found.levels == 127
    assert found.distinct > 1000


def test_an_unsigned_zero_point_and_a_dead_channel_are_still_a_lattice():
    weight = random(8, 50).abs()  # all positive: q - zero point runs from 0 to 255
    steps = weight.amax(1, keepdim=True) / 255
    stored = (weight / steps).round() * steps
    stored[3] = 0
    found = find_comb(stored)
    assert (found.kind, found.share, found.levels) == ("per channel", 1.0, 255)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_ordinary_weights_are_no_lattice_in_any_precision(dtype):
    found = find_comb((random(64, 32, 3, 3) * 0.05).to(dtype).float())
    assert (found.kind, found.share) == ("", 0)
    assert find_comb((random(256, 1, 3, 3)).to(dtype).float()).kind == ""


def test_half_of_the_channels_are_evidence_but_no_verdict():
    weight = random(20, 60)
    weight[:10] = quantised(weight[:10], weight[:10].abs().amax(1, keepdim=True) / 127)
    found = find_comb(weight)
    assert found.kind == ""
    assert found.share == 0.5


def test_constants_and_signs_are_not_called_quantised():
    assert find_comb(torch.ones(16, 16)).kind == ""
    assert find_comb(random(16, 16).sign()).kind == ""
