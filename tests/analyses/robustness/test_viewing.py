"""The viewer: distances of features and answers by hand; broken outputs give no answer."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.robustness.conditions import Condition
from microtome.analyses.robustness.viewing import NO_ANSWER, Viewer, mean_distances, typical_distance, typical_distances
from microtome.scan import Batch
from microtome.tally import Rows


def batch_of(net: mt.Specimen, images: mt.Images) -> Batch:
    pixels = images.pixels(net.recipe)
    x = net.recipe.normalise(torch.from_numpy(pixels))
    index = np.arange(len(images))
    return Batch(0, index, index, x, pixels, images.labels, images)


def test_columns_against_a_plain_pass(net: mt.Specimen) -> None:
    images = mt.Images.scenes(4, seed=2, size=32)
    batch = batch_of(net, images)
    columns = Viewer(net, [Condition("colour_scale", 2.0, True)], ["stem"], 0).columns(images, batch)
    plain, scaled = net.run(batch.x).softmax(1), net.run(2 * batch.x).softmax(1)
    assert (columns["answer"] == torch.stack([plain.argmax(1), scaled.argmax(1)], 1).numpy()).all()
    assert columns["sure"] == pytest.approx(torch.stack([plain.amax(1), scaled.amax(1)], 1).numpy(), abs=1e-5)
    with torch.no_grad():
        moved = (net.net.stem(2 * batch.x) - net.net.stem(batch.x)).mean((2, 3)).norm(dim=1)
    assert columns["moved"][:, 0, 0] == pytest.approx(moved.numpy(), rel=1e-4)


def test_an_output_that_is_not_finite_is_no_answer() -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            means = x.mean((2, 3))
            return self.head(torch.where(means.abs() > 5, torch.nan, means))

    net = mt.open(Broken().eval(), recipe={"size": 8, "crop": 1.0})
    images = mt.Images.tensors(np.full((2, 3, 8, 8), 0.9, np.float32))
    columns = Viewer(net, [Condition("colour_scale", 8.0, True)], [], 0).columns(images, batch_of(net, images))
    assert (columns["answer"][:, 1] == NO_ANSWER).all() and np.isnan(columns["sure"][:, 1]).all()
    assert (columns["answer"][:, 0] >= 0).all()


def test_distance_between_images_by_hand() -> None:
    features = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert typical_distance(features) == pytest.approx((5 + 0 + 5) / 3)
    assert np.isnan(typical_distance(features[:1]))
    rows = Rows()
    rows.add(np.arange(3), {"clean/a": features})
    assert typical_distances(rows, ["a"]) == pytest.approx([10 / 3])


def test_mean_distances_by_hand() -> None:
    """0, 1 and 3 on a line: 0 lies 1 and 3 away, 1 lies 1 and 2 away, 3 lies 3 and 2 away."""
    assert mean_distances(np.array([[0.0], [1.0], [3.0]])).tolist() == [2.0, 1.5, 2.5]
    assert np.isnan(mean_distances(np.zeros((1, 2)))).all() and np.isnan(typical_distance(np.zeros((0, 2))))
