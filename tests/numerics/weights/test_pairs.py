"""Which tensors of two blocks belong together, by hand; distances against scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, wasserstein_distance

from microtome.numerics.weights.pairs import (
    DISTANCES,
    TensorPair,
    largest_roles,
    match_roles,
    outermost_groups,
    pair_distances,
    pair_neighbours,
    tensor_roles,
)


def test_roles_are_names_within_the_block() -> None:
    assert tensor_roles(["b.1.conv1", "b.1.attn.qkv"], "b.1") == {"conv1": "b.1.conv1", "attn.qkv": "b.1.attn.qkv"}
    assert tensor_roles(["b.1"], "b.1") == {"weight": "b.1"}
    assert tensor_roles(["x", "y"], "b") == {"weight 1": "x", "weight 2": "y"}


def test_equal_names_first_then_the_nearest_of_the_same_kernel() -> None:
    first = {"conv1": "a.conv1", "branch3x3_1": "a.branch3x3_1", "pool": "a.pool"}
    second = {"conv1": "b.conv1", "branch3x3_2": "b.branch3x3_2", "gate": "b.gate"}
    shapes = {
        "a.conv1": (4, 3, 3, 3), "b.conv1": (8, 4, 3, 3), "a.branch3x3_1": (4, 4, 3, 3), "b.branch3x3_2": (4, 4, 3, 3),
        "a.pool": (4, 4, 1, 1), "b.gate": (4, 4, 1, 1),
    }  # fmt: skip
    pairs, left = match_roles(first, second, shapes)
    assert pairs == [
        TensorPair("a.conv1", "b.conv1", "conv1", "same role, other shape"),
        TensorPair("a.branch3x3_1", "b.branch3x3_2", "branch3x3_1 | branch3x3_2", "nearest name"),
    ]
    assert left == ["a.pool", "b.gate"]  # of the same kernel, but their names have nothing in common
    shapes["b.branch3x3_2"] = (4, 4, 5, 5)
    assert len(match_roles(first, second, shapes)[0]) == 1


def test_groups_inside_others_and_empty_ones_go() -> None:
    assert outermost_groups({"in": ["a"], "all": ["a", "b"], "none": [], "c": ["c"]}) == {"all": ["a", "b"], "c": ["c"]}


def test_neighbours_and_the_largest_families() -> None:
    assert [(pair.first, pair.second) for pair in pair_neighbours(["a", "b", "c"])] == [("a", "b"), ("b", "c")]
    sizes = {"a1": 1.0, "b1": 5, "a2": 2, "b2": 9, "c": 3}
    families = [["a1", "a2"], ["b1", "b2"], ["c"]]
    names = list(sizes)
    assert largest_roles(names, families, sizes, 9) == tuple(names)
    assert largest_roles(names, families, sizes, 3) == ("b1", "b2", "c")
    assert largest_roles(names, [names], sizes, 2) == ("b2", "c")  # no family fits: the last ones


def test_distances_are_those_of_scipy() -> None:
    draws = torch.Generator().manual_seed(0)
    weights = {"a": torch.randn(20, 10, generator=draws), "b": 2 * torch.randn(30, 7, generator=draws) + 0.3}
    weights["nan"] = torch.full((3, 3), torch.nan)
    pairs = [TensorPair("a", other, "r", "neighbours") for other in ("b", "a", "nan", "missing")]
    found = pair_distances(weights, pairs)
    a, b = (weights[name].flatten().double().numpy() for name in ("a", "b"))
    told = dict(zip(DISTANCES, found[0], strict=True))
    assert told["w1"] == pytest.approx(wasserstein_distance(a, b), rel=1e-4)
    assert told["ks"] == pytest.approx(ks_2samp(a, b).statistic, abs=1e-6)
    assert found[1] == pytest.approx(np.zeros(len(DISTANCES)), abs=1e-6)
    assert np.isnan(found[2:]).all()
