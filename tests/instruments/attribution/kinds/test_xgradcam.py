"""XGrad-CAM: a unit without activation has no weight, and its map counts as zero."""

import torch

from microtome.instruments.attribution import map_kind


def test_a_dead_unit_makes_no_nan():
    activation = torch.tensor([[[[0.0, 0.0]], [[1.0, 3.0]]]])
    gradient = torch.tensor([[[[5.0, -2.0]], [[2.0, 1.0]]]])
    found = map_kind("xgradcam").signed_map(activation, gradient)
    assert torch.allclose(found, 5 / 4 * activation[:, 1])  # (1·2 + 3·1) / 4
    assert torch.allclose(found.sum(), (activation * gradient).sum())
