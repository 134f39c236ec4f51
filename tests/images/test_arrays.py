"""Images in memory: every layout gives the same pixels, and what is wrong is named."""

import numpy as np
import pytest
import torch

from microtome.errors import ImagesError
from microtome.images.arrays import array_source, check_labels

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)


def test_every_layout_gives_the_same_pixels() -> None:
    first = PIXELS.transpose(0, 3, 1, 2)
    for x in (PIXELS, first, torch.from_numpy(first.copy()), first / 255, (torch.from_numpy(first.copy()) / 255).float()):
        source = array_source(x)
        assert all(np.array_equal(np.asarray(source.picture(place)), PIXELS[place]) for place in range(2))
    grey = array_source(PIXELS[..., :1].transpose(0, 3, 1, 2)).picture(0)
    assert np.array_equal(np.asarray(grey), PIXELS[0, :, :, [0, 0, 0]].transpose(1, 2, 0))


def test_the_source_keeps_its_own_copy_and_knows_content_by_its_hash() -> None:
    x = PIXELS.copy()
    source = array_source(x)
    identity = source.identity(0)
    x[0] = 0
    assert np.array_equal(np.asarray(source.picture(0)), PIXELS[0]) and source.identity(0) == identity
    masks = np.zeros((2, 4, 5))
    assert array_source(PIXELS).identity(0) == identity != array_source(PIXELS, masks).identity(0) != source.identity(1)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (PIXELS[0], "at least one image"),
        (PIXELS / 1.0, r"permute\(0, 3, 1, 2\)"),
        (PIXELS.transpose(0, 3, 1, 2) / 1.0, "divide by 255"),
        (PIXELS.transpose(0, 3, 1, 2) / 128 - 1, "undo mean and std"),
        (np.full((1, 3, 2, 2), np.nan), "12 values that are not finite"),
        (PIXELS.astype(np.int64), "holds int64"),
    ],
)
def test_what_will_not_do(x: np.ndarray, reason: str) -> None:
    with pytest.raises(ImagesError, match=reason):
        array_source(x)


def test_masks_and_labels_must_fit() -> None:
    mask = array_source(PIXELS, np.full((2, 1, 4, 5), 7)).mask(1)
    assert mask is not None and mask.dtype == bool and mask.all()
    with pytest.raises(ImagesError, match="The masks have the shape"):
        array_source(PIXELS, np.zeros((2, 5, 4)))
    values, names = check_labels(3, [0, -1, 2.0], None)
    assert values is not None and values.tolist() == [0, -1, 2] and names == ("0", "1", "2")
    for labels, classes in (([0, 1], None), ([0, 1, 0.5], None), ([0, 1, 2], ["a", "b"]), ([0, -2, 0], None), (None, ["a"])):
        with pytest.raises(ImagesError):
            check_labels(3, labels, classes)
