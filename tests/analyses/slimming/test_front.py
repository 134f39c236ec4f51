"""The front of depth and width, by hand."""

import numpy as np

from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.front import front_arrays
from microtome.finding import array

NAMES = ["a", "b", "c", "d"]


def test_by_hand() -> None:
    """b loses to a everywhere; c loses to the full network; d is the only small one; a is as accurate as the full network and faster."""
    candidates = [SmallerNetwork(kind, name) for kind, name in zip(("block", "block", "cut", "width"), NAMES, strict=True)]
    rows = {"candidate": NAMES}
    table = np.array([[0.9, 0.8], [0.95, 0.7], [0.5, np.nan], [np.nan, 0.2]])  # none, norms
    arrays = {
        "accuracy": array(table, ("candidate", "repair"), "fraction", {**rows, "repair": ["none", "norms"]}, "accuracy"),
        "latency": array(np.array([0.9, 0.95, 1.0, 0.9]), ("candidate",), "fraction", rows, "latency"),
        "parameters_saved": array(np.array([0.2, 0.1, 0.0, 0.5]), ("candidate",), "fraction", rows, "saved"),
        "memory_saved": array(np.zeros(4), ("candidate",), "fraction", rows, "saved"),
    }
    found = front_arrays(candidates, arrays, 0.8)
    assert found["front_accuracy"].values.tolist() == [0.8, 0.7, 0.5, 0.2]  # after norms, although b is better without
    assert found["front_repair"].values.tolist() == ["norms", "norms", "none", "norms"]
    assert found["on_front"].values.tolist() == [1, 0, 0, 1]
    assert found["front_kind"].values.tolist() == ["block, on the front", "block", "cut", "width, on the front"]
