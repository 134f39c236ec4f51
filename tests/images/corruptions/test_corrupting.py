"""Every corruption: any size and channel, more with every severity, the same for an image whatever stands beside it."""

import numpy as np
import pytest

from corrupted_photographs import photographs
from microtome.errors import BadOption, UnknownName
from microtome.images.corruptions import CORRUPTIONS, SEVERITIES, corrupt

STRANGE = ("saturate",)  # its severities go both ways


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_any_batch(name: str) -> None:
    images = photographs(3)
    together = corrupt(images, name, 3, seed=1)
    assert together.shape == images.shape and together.dtype == np.uint8
    assert np.array_equal(together[::-1], corrupt(images[::-1], name, 3, seed=1))
    alone = corrupt(images[2:], name, 3, seed=1)
    assert np.abs(together[2:].astype(int) - alone).max() <= 1  # sums in another order
    assert (corrupt(images, name, 3, seed=1) == together).all()


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize(("rows", "cols", "channels"), [(5, 9, 3), (64, 33, 1), (1, 1, 3), (40, 40, 3)])
def test_any_size_and_one_channel_or_three(name: str, rows: int, cols: int, channels: int) -> None:
    images = photographs(1, 45, 61, channels)[:, :rows, :cols]
    images = np.ascontiguousarray(np.resize(images, (1, rows, cols, channels)))
    for severity in (1, 4, 5):
        assert corrupt(images, name, severity).shape == images.shape


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in STRANGE])
def test_the_last_severity_changes_more_than_the_first(name: str) -> None:
    images = photographs(4, 90, 90)
    change = [float(np.abs(corrupt(images, name, severity).astype(float) - images).mean()) for severity in SEVERITIES]
    assert 0 < change[0] < change[4], change


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "snow", "frost", "glass_blur", "motion_blur", "elastic_transform"])
def test_another_seed_draws_anew(name: str) -> None:
    images = photographs(1)
    assert not np.array_equal(corrupt(images, name, 5, seed=0), corrupt(images, name, 5, seed=1))


def test_what_cannot_be_corrupted_is_named() -> None:
    images = photographs(1)
    with pytest.raises(UnknownName, match="no corruption 'gausian_noise'.*'gaussian_noise'"):
        corrupt(images, "gausian_noise", 1)
    with pytest.raises(BadOption, match="severity 6 of fog does not exist; it takes 1 to 5"):
        corrupt(images, "fog", 6)
    with pytest.raises(BadOption, match="8-bit images.*float32"):
        corrupt(images.astype(np.float32), "fog", 1)
    with pytest.raises(BadOption, match="one channel or three"):
        corrupt(np.zeros((1, 4, 4, 5), np.uint8), "fog", 1)
