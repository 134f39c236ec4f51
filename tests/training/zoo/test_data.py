"""Scenes with a class for every pixel: exact targets, kept apart on disk and read again."""

from pathlib import Path

import numpy as np
import pytest

from microtome.images.scenes import scene
from microtome.training.zoo.data import SceneSeries, scene_series


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(16, seed=77, masks=True)


def test_targets_are_the_exact_masks_with_the_class_one_up(few: SceneSeries) -> None:
    assert few.targets is not None
    for index in (0, 7, 13):
        one = scene(index, seed=77)
        assert np.array_equal(few.targets[index] > 0, one.mask)
        assert set(np.unique(few.targets[index])) == {0, one.label + 1}
    assert scene_series(16, seed=77).targets is None


def test_a_series_with_targets_is_kept_apart_and_read_again(few: SceneSeries, tmp_path: Path) -> None:
    scene_series(4, seed=77, cache=tmp_path)
    drawn, again = (scene_series(4, seed=77, masks=True, cache=tmp_path) for _ in range(2))
    assert drawn.targets is not None and again.targets is not None
    assert np.array_equal(drawn.targets, again.targets)
    assert np.array_equal(drawn.pixels, again.pixels)
    assert len(list(tmp_path.iterdir())) == 2
