"""Evenness by hand; the matrices of the trained DenseNet against slices of its weights, where they are."""

import numpy as np
import pytest

from microtome.replicate.dense_weights import NETWORK, evenness, reuse_matrices
from microtome.replicate.material import trained_network
from shared_data import CONTEXT, needs_data


def test_evenness_by_hand() -> None:
    assert evenness(np.array([2.0, 2, 2, np.nan])) == pytest.approx(1)
    assert evenness(np.array([1.0, 0, 0, 0])) == pytest.approx(1 / 4)
    assert evenness(np.array([1.0, 1, 0, 0])) == pytest.approx(1 / 2)


@needs_data
def test_matrices_are_slices_of_the_weights() -> None:
    blocks = reuse_matrices(CONTEXT)
    assert [(matrix.rows(inside=True).shape[0], matrix.rows(inside=False).shape[0]) for matrix in blocks] == [(16, 1)] * 3
    layer = trained_network(CONTEXT, NETWORK).net.get_submodule("features.denseblock2.denselayer3")
    scaled = (layer.conv1.weight.abs().mean((0, 2, 3)) * layer.norm1.weight.abs()).detach().numpy()
    start = len(scaled) - 2 * 12  # the block's input, then twelve channels from each of two layers
    expected = [scaled[:start].mean(), scaled[start : start + 12].mean(), scaled[start + 12 :].mean()]
    row = blocks[1].rows(inside=True)[2]
    assert row[np.isfinite(row)] == pytest.approx(expected, rel=1e-5)
