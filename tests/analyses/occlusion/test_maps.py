"""Maps by occluder position: patches cut from the filler, outputs put back at their places, losses by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from microtome.analyses.occlusion.maps import OccluderGrid, OcclusionMaps, concatenate_maps, occlude_batch, take_maps
from microtome.instruments.perturbation.patches import Response


def test_outputs_stand_at_the_position_of_their_patch() -> None:
    """An engine that gives the image, row and col of each patch back, in its scores and its activity."""
    asked = []

    def responses(patches, units):
        asked.extend(patches)
        assert units.tolist() == [2, 0]  # the strongest map of each clean image
        scores = torch.tensor([[one.image, one.top, one.left] for one in patches], dtype=torch.float32)
        return Response(scores, scores.double() @ torch.tensor([100.0, 10.0, 1.0], dtype=torch.float64))

    clean = Response(torch.tensor([[0.0, 1, 2], [3, 0, 1]]), torch.tensor([[1.0, 2, 9], [8, 1, 0]], dtype=torch.float64))
    engine = SimpleNamespace(clean=clean, responses=responses)
    filler = torch.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8)
    places = OccluderGrid(np.array([0, 3]), np.array([1, 2, 6]), 4)
    maps = occlude_batch(engine, torch.zeros(2, 3, 8, 8), filler, places, torch.tensor([1, 2]))
    assert places.count == 6
    assert maps.activity.tolist() == [[[100 * i + 10 * r + c for c in (1, 2, 6)] for r in (0, 3)] for i in (0, 1)]
    for image, target in ((0, 1), (1, 2)):
        for r, row in enumerate((0, 3)):
            for c, col in enumerate((1, 2, 6)):
                chance = np.exp([image, row, col]) / np.exp([image, row, col]).sum()
                assert float(maps.probability[image, r, c]) == pytest.approx(chance[target])
                assert int(maps.label[image, r, c]) == int(np.argmax(chance))
    last = asked[-1]
    assert (last.image, last.top, last.left) == (1, 3, 6)
    assert torch.equal(last.pixels, filler[1, :, 3:7, 6:8])  # cut by the border
    assert maps.clean_activity.tolist() == [9.0, 8.0] and maps.clean_label.tolist() == [2, 0]
    assert maps.clean_probability.tolist() == pytest.approx(
        [np.exp(1) / np.exp([0, 1, 2]).sum(), np.exp(1) / np.exp([3, 0, 1]).sum()]
    )


def test_losses_are_shares_of_the_activity_and_differences_of_the_probability() -> None:
    activity = torch.tensor([[[2.0, 6.0]], [[-2.0, -8.0]], [[1.0, 0.0]]])
    probability = torch.tensor([[[0.2, 0.9]], [[0.5, 0.5]], [[0.0, 1.0]]])
    maps = OcclusionMaps(
        activity, probability, activity, torch.tensor([4.0, -4.0, 0.0]), torch.tensor([0.8, 0.5, 0.5]), activity
    )
    lost = maps.losses()
    assert lost.shape == (3, 2, 1, 2)
    assert lost[:2, 0, 0].tolist() == [[0.5, -0.5], [-0.5, 1.0]]  # by the size of the activity, whatever its sign
    assert bool(lost[2, 0].isnan().all())
    assert lost[:, 1, 0].flatten().tolist() == pytest.approx([0.6, -0.1, 0, 0, 0.5, -0.5])
    both = concatenate_maps([maps, maps])
    assert torch.equal(both.activity, torch.cat([activity, activity])) and len(both.clean_label) == 6


def test_maps_are_taken_row_by_row():
    values = torch.arange(3.0)
    maps = OcclusionMaps(
        values[:, None, None], values[:, None, None], values.long()[:, None, None], values, values, values.long()
    )
    taken = take_maps(maps, np.array([2, 0]))
    assert taken.activity.flatten().tolist() == taken.clean_label.tolist() == [2, 0]
