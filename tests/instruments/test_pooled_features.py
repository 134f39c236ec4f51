"""Pooling: maps, tokens and vectors of a network by hand."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.instruments.pooled_features import pool_positions


def test_maps_and_vectors(net: mt.Specimen) -> None:
    maps = torch.rand(2, 8, 16, 16)
    assert pool_positions(net, "blocks.2", maps) == pytest.approx(maps.mean((2, 3)).numpy(), abs=1e-6)
    vector = torch.rand(2, 10)
    assert np.array_equal(pool_positions(net, "head", vector), vector.numpy())


def test_tokens_are_averaged_class_token_included() -> None:
    deit = mt.open("microtome:mini_deit")
    name = deit.find(("last",))[-1]
    name = name if len(deit.layer(name).shape) > 1 else deit.find(("blocks",))[-1]
    tokens = torch.rand(2, *deit.layer(name).shape)
    assert pool_positions(deit, name, tokens) == pytest.approx(tokens.mean(1).numpy(), abs=1e-6)
