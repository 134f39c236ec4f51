"""Overlap at a threshold against every position painted on the pixels, and scores that are unknown for empty masks."""

import numpy as np
import pytest
import torch

from microtome.numerics.maps.localisation import localisation_scores, threshold_iou


def test_overlap_is_that_of_positions_painted_on_the_pixels() -> None:
    draws = torch.Generator().manual_seed(0)
    heat = torch.rand(3, 4, 5, generator=draws)
    masks = torch.rand(3, 12, 20, generator=draws) > 0.6
    thresholds = (0.2, 0.5, 0.9)
    found = threshold_iou(heat, masks, thresholds)
    painted = heat.repeat_interleave(3, 1).repeat_interleave(4, 2)
    for image in range(3):
        for place, threshold in enumerate(thresholds):
            hot = painted[image] >= threshold * heat[image].max()
            expected = (hot & masks[image]).sum() / (hot | masks[image]).sum()
            assert float(found[image, place]) == pytest.approx(float(expected), rel=1e-5)


def test_scores_of_a_map_that_is_the_mask() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4, 4:] = True
    scores = localisation_scores(masks.float(), masks, tolerance=0)
    assert float(scores["ebpg"][0]) == float(scores["pointing_game"][0]) == 1
    assert scores["iou"][0].tolist() == [1.0] * scores["iou"].shape[1]
    assert scores["area"].tolist() == [0.25, 0.0] and scores["peak"].tolist() == [1.0, 0.0]
    assert float(scores["centre_ebpg"][0]) == pytest.approx(0.25)  # a quadrant, by symmetry of the blob
    unknown = [name for name, values in scores.items() if np.isnan(np.asarray(values[1])).all()]
    assert sorted(unknown) == ["centre_ebpg", "coverage50", "coverage90", "ebpg", "iou", "pointing_game"]
