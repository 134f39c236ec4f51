"""Weight tensors with their units first, their statistics against scipy and numpy, and fair samples of large ones."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kurtosis, skew
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from microtome.numerics.weights import tensors
from microtome.numerics.weights.tensors import (
    describe_values,
    execution_order,
    sample_values,
    sorted_quantiles,
    thin_matrix,
    value_density,
    weight_tensors,
)


def values(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_units_are_first_also_of_transposed_convolutions_in_groups() -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)
    stored = weight_tensors(nn.Sequential(layer))["0"].values
    assert stored.shape == (6, 2, 3, 3)
    x = values(1, 4, 5, 5)
    for unit in range(6):  # each unit alone, from its own weights and the inputs of its group
        inputs = x[:, :2] if unit < 3 else x[:, 2:]
        assert torch.allclose(F.conv_transpose2d(inputs, stored[unit][:, None])[0, 0], layer(x)[0, unit], atol=1e-5)


def test_shared_weights_are_told_once_and_parametrised_ones_as_computed() -> None:
    net = nn.ModuleDict({"a": nn.Linear(3, 4), "b": nn.Linear(3, 4), "n": weight_norm(nn.Linear(3, 4)), "v": nn.BatchNorm1d(4)})
    net["b"].weight = net["a"].weight
    found = weight_tensors(net)
    assert list(found) == ["a", "n"]
    assert torch.equal(found["n"].values, net["n"].weight.detach()) and found["a"].dtype == "float32"


def test_order_of_execution() -> None:
    names = ["pos_embed", "late", "unused.w", "early.attn.in_proj"]
    assert execution_order(names, {"early.attn": 0, "late": 1}, frozenset({"early", "late", "unused"})) == [
        "pos_embed", "early.attn.in_proj", "late", "unused.w",
    ]  # fmt: skip


def test_statistics_are_those_of_scipy() -> None:
    weight = values(6, 4, 3, 3) ** 3
    told, flat = describe_values(weight), weight.double().numpy().ravel()
    assert told["mean"] == pytest.approx(flat.mean(), abs=1e-6) and told["std"] == pytest.approx(flat.std(), rel=1e-3)
    assert told["skewness"] == pytest.approx(skew(flat), rel=1e-2)
    assert told["excess kurtosis"] == pytest.approx(kurtosis(flat), rel=1e-2)
    assert (told["minimum"], told["maximum"]) == pytest.approx((flat.min(), flat.max()))
    norms = np.linalg.norm(flat.reshape(6, -1), axis=1)
    assert told["unit norm, median"] == pytest.approx(np.median(norms))
    assert told["unit norm, spread"] == pytest.approx(norms.std() / norms.mean(), rel=1e-5)
    broken = describe_values(torch.full((2, 3), torch.nan))
    assert broken["weights"] == 6 and np.isnan(broken["mean"])


@pytest.mark.parametrize(
    ("exact", "gram"), [(256, 1024), (4, 1024), (4, 4)]
)  # all singular values, Gram matrix, the weight itself
def test_spectral_norm_and_stable_rank_are_those_of_numpy(exact: int, gram: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "EXACT_RANK", exact)
    monkeypatch.setattr(tensors, "GRAM_LIMIT", gram)
    weight = values(12, 30)
    singular = np.linalg.svd(weight.double().numpy(), compute_uv=False)
    found = describe_values(weight)
    norm, rank = found["spectral norm"], found["stable rank"]
    assert norm == pytest.approx(singular[0], rel=1e-3)
    assert rank == pytest.approx((singular**2).sum() / singular[0] ** 2, rel=2e-3)
    zeros = describe_values(torch.zeros(3, 3))
    assert np.isnan([zeros["spectral norm"], zeros["stable rank"]]).all()


def test_a_sample_passes_through_all_rows_and_columns_alike() -> None:
    rows, cols = torch.meshgrid(torch.arange(60.0), torch.arange(100.0), indexing="ij")
    for axis, side in ((rows, 60), (cols, 100)):
        seen = sample_values(axis, 400)
        assert len(seen) <= 400 and set(seen.tolist()) == set(map(float, range(side)))
    assert torch.equal(sample_values(rows, 6000), rows.flatten())


def test_quantiles_stand_in_the_middle_of_equal_parts() -> None:
    assert sorted_quantiles(torch.arange(100.0).flip(0), 10).tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert sorted_quantiles(torch.tensor([3.0, 1, 2])).tolist() == [1, 2, 3]
    assert np.isnan(sorted_quantiles(torch.full((100,), torch.nan), 10)).all()


def test_a_thin_matrix_keeps_the_first_and_last_row_and_column() -> None:
    weight = torch.arange(70.0).reshape(7, 10)
    assert thin_matrix(weight, 3, 4).tolist() == [[0, 3, 6, 9], [30, 33, 36, 39], [60, 63, 66, 69]]


def test_a_density_has_area_one() -> None:
    density, centres = value_density(torch.rand(100, 100, generator=torch.Generator().manual_seed(0)), 20)
    assert density.sum() * (centres[1] - centres[0]) == pytest.approx(1, abs=1e-6)
    assert density == pytest.approx(np.ones(20), abs=0.2)
    assert np.isnan(value_density(torch.full((2, 2), torch.nan), 5)[0]).all()
