"""Cost: parameters, operations and live memory counted by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.cost import Cost
from microtome.analyses.cost import cost as cost_module
from microtome.instruments.turn_timing import fastest_size


def told(found: mt.Finding, name: str) -> float:
    (place,) = [n for n, one in enumerate(found["cost"].measure.values) if one.startswith(name)]
    return float(found["cost"].values[place])


class Plain(nn.Module):
    """conv 3→4, 3×3 on 8×8; then a linear layer: everything countable on paper."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).flatten(1))


def test_counts_by_hand() -> None:
    found = Cost(repeats=3, batch=2)(mt.open(Plain().eval(), recipe={"size": 8}))
    weights = 3 * 4 * 9 + 4 + 256 * 2 + 2
    assert told(found, "parameters") == weights
    assert told(found, "weights") == weights * 4 / 1e6
    assert told(found, "multiply-adds") == (64 * 4 * 27 + 256 * 2) / 1e6
    assert found["parameters"].values.tolist() == [112, 514]


def test_live_memory_by_hand() -> None:
    """At the end of the convolution its output (4·64 floats) is held; the linear layer adds 2 floats: 1,032 bytes."""
    found = Cost(repeats=3, batch=2)(mt.open(Plain().eval(), recipe={"size": 8}))
    assert told(found, "live memory") == (4 * 64 * 4 + 2 * 4) / 1e6


class Long(nn.Module):
    """Ten ReLUs in a row hold two maps at a time, not eleven."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 1, 1)
        self.acts = nn.Sequential(*(nn.ReLU() for _ in range(10)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.acts(self.first(x)).mean((2, 3))


def test_memory_is_freed_on_the_way() -> None:
    found = Cost(repeats=3, batch=1)(mt.open(Long().eval(), recipe={"size": 16}))
    one = 16 * 16 * 4 / 1e6
    assert 2 * one <= told(found, "live memory") < 4 * one


def test_times_are_positive_and_the_suite_holds(net: mt.Specimen, tmp_path: Path) -> None:
    finding = testing.check(Cost(repeats=3, batch=2), net, None, tmp_path)
    assert (finding["runs"].values > 0).all()
    assert np.isfinite(finding["cost"].values).all()


def test_large_networks_are_timed_in_smaller_batches(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are tried up to as many images as keep the multiply-adds below the limit; a batch of one is timed once."""
    monkeypatch.setattr(cost_module, "BATCH_WORK", 3.5 * net.multiply_adds)
    found = Cost(repeats=3)(net)
    assert found.facts["batches"] == [1, 2, 3] and found["by_batch"].sizes["size"] == 3
    assert found.facts["batch"] == fastest_size([1, 2, 3], found["by_batch"].values)
    monkeypatch.setattr(cost_module, "BATCH_WORK", 0.0)
    found = Cost(repeats=3)(net)
    assert found.facts["batch"] == 1
    np.testing.assert_array_equal(found["runs"][0], found["runs"][1])
