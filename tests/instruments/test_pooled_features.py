"""Pooling: maps, tokens and vectors of a network by hand."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.instruments import pooled_features
from microtome.instruments.pooled_features import pool_once, pool_positions
from microtome.scan import BatchValues


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


def test_two_analyses_share_what_is_pooled(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(specimen: mt.Specimen, name: str, value: torch.Tensor) -> object:
        calls.append(name)
        return pool_positions(specimen, name, value)

    monkeypatch.setattr(pooled_features, "pool_positions", counted)
    made: dict = {}
    maps, seen = torch.rand(2, 8, 16, 16), [BatchValues({}, made), BatchValues({}, made)]
    first, second = (pool_once(net, "blocks.2", maps, each) for each in seen)
    assert first is second and np.array_equal(first, pool_positions(net, "blocks.2", maps))
    pool_once(net, "blocks.1", maps, seen[0])
    pool_once(net, "blocks.2", maps, BatchValues({}, {}))  # the next batch
    assert calls == ["blocks.2", "blocks.1", "blocks.2"]
