"""What checkpoints amount to, by hand: shares of the twin's distance, when layers settle, jumps, and accuracy with its interval."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom, spearmanr

import microtome as mt
from microtome.analyses.evolution.checkpoints import Checkpoint
from microtome.analyses.evolution.summary import accuracy_arrays, drift_arrays, jump_arrays
from microtome.numerics.statistics.intervals import Interval

MOMENTS = [Checkpoint(name, Path(name)) for name in ("1", "2", "4", "8")]


def intervals(rows):
    """(checkpoint, layer) as intervals of ± 0.1."""
    return [[Interval(value, value - 0.1, value + 0.1) for value in row] for row in rows]


def test_distances_are_shares_of_the_twins_and_settle_by_hand() -> None:
    """Twins are 0.8, 0.5, 0.1 and 1.0 away on average: the third has hardly anything to settle."""
    to_end = [[0.8, 0.2, 0.05, 0.9], [0.5, 0.2, 0.05, 0.1], [0.2, 0.3, 0.02, 0.6], [0, 0, 0, 0]]
    step = [[0.4, 0.1, 0, 0.5], [0.3, 0.2, 0, 0.6], [0.2, 0.3, 0, 0.6]]
    names = ["a", "b", "c", "d"]
    found = drift_arrays(names, MOMENTS, intervals(to_end), intervals(step), [[0.7, 0.4, 0.1, 1.2], [0.9, 0.6, 0.1, 0.8]])
    assert found["drift"].sel(layer="d").values.tolist() == [0.9, 0.1, 0.6, 0]
    assert found["drift_high"].sel(layer="a", checkpoint="2").item() == pytest.approx(0.6)
    assert found["step"].sel(pair="2 → 4").values.tolist() == [0.3, 0.2, 0, 0.6]
    assert found["twin_drift"].values == pytest.approx([0.8, 0.5, 0.1, 1.0])
    assert (found["twin_drift_low"].values[3], found["twin_drift_high"].values[3]) == (0.8, 1.2)
    assert found["share"].sel(layer="a").values == pytest.approx([1, 0.625, 0.25, 0])
    assert np.isnan(found["share"].sel(layer="c").values).all()
    assert found["travel"].values == pytest.approx([1.5 / 2.4, 0.7 / 1.5, np.nan, 1.6 / 3], nan_ok=True)
    assert found["settled"].values.tolist() == ["4", "8", "unknown", "8"]  # from there on within half; b leaves it at 4
    assert found["settled_at"].values.tolist() == [2, 3, -1, 3]
    assert found["depth_rank"].item() == pytest.approx(spearmanr([0, 1, 3], found["travel"].values[[0, 1, 3]]).statistic)


def test_the_rank_of_two_layers_is_not_known() -> None:
    found = drift_arrays(["a", "b"], MOMENTS[:2], intervals([[0.5, 0.6], [0, 0]]), intervals([[0.1, 0.2]]), [[0.8, 0.9]])
    assert np.isnan(found["depth_rank"].item())


def test_jumps_are_counted_over_units_that_fire_on_both_sides() -> None:
    def top(images, values):
        return SimpleNamespace(
            images=lambda _: np.array([images]), values=lambda _: np.array([values]), positions=lambda _: np.zeros((1, 4), int)
        )

    told = [(top([3, 5, 5, 2], [1.0, 1, 1, 1]), np.ones(1)), (top([3, 5, 7, 9], [1.0, 1, 1, 0]), np.ones(1))]
    found = jump_arrays(["a"], MOMENTS[:2], told)
    assert found["jump"].sel(layer="a", pair="1 → 2").item() == pytest.approx(1 / 3)  # the last unit is silent afterwards
    # by chance: 1 - Σ of the products of the shares of image 3 (1/3, 1/3) and 5 (2/3, 1/3)
    assert found["chance_jump"].item() == pytest.approx(1 - (1 / 9 + 2 / 9))
    assert found["last_jump"].item() == found["jump"].item()


def test_accuracy_is_exact_and_chance_the_most_frequent_class() -> None:
    answers = np.array([0, 0, 0, 1, 2, -1] * 2)
    right = np.array([1, 1, 1, 1, 0, np.nan] * 2)
    images = mt.Images.tensors(np.zeros((12, 4, 4, 3), np.uint8))
    found = accuracy_arrays(MOMENTS[:1], [(SimpleNamespace(), right)], answers, images)
    # 8 of 10: the ends at which 8 or more, and 8 or fewer, have a probability of 2.5%
    ends = [found[name].item() for name in ("accuracy", "accuracy_low", "accuracy_high")]
    assert ends[0] == 0.8
    assert [binom.sf(7, 10, ends[1]), binom.cdf(8, 10, ends[2])] == pytest.approx([0.025, 0.025])
    assert found["chance"].item() == 0.6
    assert accuracy_arrays(MOMENTS[:1], [(SimpleNamespace(), right)], np.full(12, -1), images) == {}
