"""Eigen-CAM: numpy's singular vectors, the sign rule, and no influence of the class."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from map_networks import noise, opened, pooled
from microtome.instruments.attribution import attribution_maps, map_kind
from microtome.instruments.attribution.kinds.eigencam import principal_map


def by_svd(activation: np.ndarray) -> np.ndarray:
    """The projection on the first right singular vector with the sign rule, image by image, in double precision."""
    heats = []
    for maps in activation.astype(np.float64):
        rows = maps.reshape(len(maps), -1).T  # (position, unit)
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        line = left[:, 0] * values[0]
        total = line.sum()
        sign = np.sign(total) if abs(total) > 1e-9 * np.abs(line).sum() else np.sign(line[np.abs(line).argmax()])
        heats.append((line * sign).reshape(maps.shape[1:]))
    return np.stack(heats)


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 5), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_equals_numpys_svd(seed, units, rows, cols):
    activation = torch.randn(2, units, rows, cols, generator=torch.Generator().manual_seed(seed)).double()
    values = np.linalg.svd(activation[0].flatten(1).T.numpy(), compute_uv=False)
    others = np.linalg.svd(activation[1].flatten(1).T.numpy(), compute_uv=False)
    if any(len(v) > 1 and v[0] - v[1] < 1e-3 * v[0] for v in (values, others)):
        return  # two directions are equally strong: neither is the first
    assert principal_map(activation).numpy() == pytest.approx(by_svd(activation.numpy()), rel=1e-6, abs=1e-6)


def test_the_sign_gives_a_positive_sum_and_else_a_positive_peak():
    line = torch.tensor([3.0, -1.0, -2.0])
    for sign in (1, -1):  # sums to zero: the largest value is made positive
        activation = sign * torch.stack([line, 2 * line])[None, :, None]
        assert torch.allclose(principal_map(activation)[0, 0], 5**0.5 * line, atol=1e-5)
    assert float(principal_map(-torch.ones(1, 3, 2, 2)).sum()) > 0
    assert not bool(principal_map(torch.zeros(1, 3, 2, 2)).any())


def test_every_class_has_the_same_map():
    specimen, x = opened(pooled()), noise()
    _, (first, second) = attribution_maps(
        specimen, ["3"], x, lambda scores: [scores.argmax(1), scores.argmin(1)], map_kind("eigencam")
    )
    assert torch.equal(first["3"], second["3"]) and bool(first["3"].any())
    assert not map_kind("eigencam").depends_on_class
