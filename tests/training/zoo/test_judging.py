"""Judging agrees with a count by hand."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from microtome.training.zoo.data import SceneSeries
from microtome.training.zoo.judging import pixel_scores


class Band(nn.Module):
    """Says class 1 in the first rows and background below, whatever it sees."""

    def forward(self, x: Tensor) -> Tensor:
        scores = torch.zeros(len(x), 11, 4, 4)
        scores[:, 1, :2] = 1
        scores[:, 0, 2:] = 1
        return scores


def test_judging_agrees_with_a_count_by_hand() -> None:
    targets = np.zeros((2, 4, 4), np.uint8)
    targets[0, 1:3] = 1  # 8 pixels: 4 of them in the band
    targets[1, 3, 3] = 3  # 1 pixel, in the half that is called background
    data = SceneSeries(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64), np.array([0.5, 1 / 16]), targets)
    found = pixel_scores(Band(), data)
    # image 0: 4 right of the 8 called class 1, 4 of 8 called background; image 1: 0 of 8, and 7 of 8
    assert found["pixel_accuracy"] == (4 + 4 + 0 + 7) / 32
    # background: 11 in both, 23 wanted + 16 given - 11; class 1: 4 in both, 8 + 16 - 4; class 3: none of 1; the others are nowhere
    assert found["iou"][0] == 11 / 28
    assert found["iou"][1] == 4 / 20
    assert found["iou"][3] == 0.0
    assert found["iou"][2] is None
    assert found["mean_iou"] == pytest.approx((11 / 28 + 4 / 20 + 0) / 3)
    assert found["background"] == 23 / 32
    assert [one["count"] for one in found["by_area"]] == [0, 1, 0, 0, 1]
    # two scenes are too few for an interval, and so are those of one size; the file of the card says null
    assert found["interval"] == found["pixel_interval"] == [None, None]
    assert all(size["interval"] == [None, None] for size in found["by_area"])
    assert "NaN" not in json.dumps(found)
