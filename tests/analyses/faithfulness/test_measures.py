"""Every measure of one method, for maps whose measures are known: the mask itself, a constant, a map of the class."""

import numpy as np
import pytest
import torch

import microtome as mt
from map_networks import opened, pooled
from microtome.analyses.faithfulness.measures import CURVES, MASKED, MEASURES, MethodRows, measure_maps
from microtome.instruments.faithfulness.methods import MapMethod
from microtome.instruments.faithfulness.removal_trials import RemovalPlan
from microtome.instruments.faithfulness.trials import Trial, prepare_trials
from microtome.scan import Pace


def tried(heat: torch.Tensor, masks: np.ndarray | None) -> dict[str, np.ndarray]:
    """The row of a method that gives `heat` for every class."""
    x = torch.rand(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    specimen = opened(pooled())
    trials: list[Trial] = list(prepare_trials(specimen, mt.Images.tensors(x), RemovalPlan(4, 2), Pace()))
    method = MapMethod("fixed", "Fixed", lambda _, request: [heat] * len(request.classes))
    return measure_maps(specimen, method, trials[0], [heat, heat], 2, 0, masks)


def test_the_mask_itself_points_to_the_object_and_has_all_its_energy_there() -> None:
    masks = np.zeros((3, 12, 12), bool)
    masks[0, :2, :3], masks[1, 5:9, 5:9], masks[2, 11, 11] = True, True, True
    row = tried(torch.from_numpy(masks).double(), masks)
    assert row["pointing"].tolist() == [1.0, 1.0, 1.0]
    assert row["lift"] == pytest.approx(1 - masks.mean((1, 2)))
    assert row["sensitivity"].tolist() == [0.0, 0.0, 0.0] and row["swap"] == pytest.approx(1.0)
    assert row.keys() == {*MEASURES, *MASKED, *CURVES}


def test_a_constant_map_shows_no_place_and_no_mask_gives_no_localisation() -> None:
    row = tried(torch.ones(3, 12, 12).double(), None)
    assert row.keys() == {*MEASURES, *CURVES} and np.isnan(row["swap"]).all()
    assert row["drop"] == pytest.approx(0.0) and row["increase"].tolist() == [0.0, 0.0, 0.0]  # seen whole
    assert row["deletion_curve"].shape == (3, 5)
    # deletion begins where insertion ends
    assert row["deletion_curve"][:, 0] == pytest.approx(row["insertion_curve"][:, -1])


def test_rows_come_back_in_the_order_asked_for() -> None:
    rows = MethodRows()
    rows.add({"score": np.array([3.0, 1.0])})
    rows.add({"score": np.array([2.0])})
    assert rows.column("score", np.array([1, 2, 0])).tolist() == [1.0, 2.0, 3.0]
