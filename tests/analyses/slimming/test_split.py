"""Two parts of the images that share none, do not depend on names, and hold every class."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.slimming.split import ImagePart, concatenate_batches, image_part, split_places
from microtome.errors import Unmeasurable


def test_classes_in_proportion() -> None:
    images = mt.Images.scenes(200)
    chosen, reported = split_places(images, 0.25, 2000, 0)
    assert (len(chosen), len(reported)) == (50, 150)
    assert not set(chosen.tolist()) & set(reported.tolist())
    assert images.labels is not None
    for label in set(images.labels.tolist()):
        total = int((images.labels == label).sum())
        assert abs(int((images.labels[chosen] == label).sum()) - 0.25 * total) <= 1
    assert not np.array_equal(chosen, split_places(images, 0.25, 2000, 1)[0])


def test_too_few_images() -> None:
    with pytest.raises(Unmeasurable, match="calibration=0.4 takes"):
        split_places(mt.Images.scenes(40), 0.4, 2000, 0)


def test_batches_in_the_order_asked_for() -> None:
    net, images = mt.open("microtome:mini_resnet"), mt.Images.scenes(12)
    places = np.array([7, 1, 4])
    part = image_part(net, images, places, np.arange(12), mt.Pace(device="cpu", batch=2))
    assert isinstance(part, ImagePart) and len(part) == 3
    assert part.wanted.tolist() == [7, 1, 4]
    assert [len(x) for x in part.batches] == [2, 1]
    wanted = net.recipe.normalise(torch.from_numpy(images.inputs(net.recipe, [7, 1, 4])))
    torch.testing.assert_close(concatenate_batches(list(part.batches)), wanted)
