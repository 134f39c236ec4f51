"""Generated tasks: the same every time, balanced, training apart from test; real ones where they are."""

import hashlib

import numpy as np
import pytest

from benchmarks import choice_real
from benchmarks.choice_real import balanced, real_tasks
from benchmarks.choice_tasks import (
    SIDE,
    Split,
    Task,
    blob_mask,
    generated_tasks,
    hue_colour,
    letter_mask,
    texture_field,
)

TASKS = generated_tasks(training=24, test=24, few=2)
BY_NAME = {task.name: task for task in TASKS}


def images_of(split: Split) -> set[str]:
    return {hashlib.sha256(image.tobytes()).hexdigest() for image in split.pixels}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_task_is_the_same_every_time_and_its_splits_share_no_image(task: Task) -> None:
    training, again, other, test = task.training(0), task.training(0), task.training(1), task.test()
    assert np.array_equal(training.pixels, again.pixels) and np.array_equal(training.labels, again.labels)
    assert training.pixels.shape[1:] == (SIDE, SIDE, 3) and training.pixels.dtype == np.uint8
    for split in (training, test):
        sizes = np.bincount(split.labels, minlength=len(task.classes))
        assert sizes.min() == sizes.max() > 0, "classes are balanced"
    parts = [images_of(split) for split in (training, other, test)]
    assert [len(part) for part in parts] == [len(split.labels) for split in (training, other, test)]
    assert not (parts[0] & parts[1]) and not ((parts[0] | parts[1]) & parts[2])


def test_there_are_the_tasks_that_were_asked_for() -> None:
    assert {"small_objects", "large_objects", "clutter", "texture", "few_samples", "colour_shift"} <= set(BY_NAME)
    assert len(BY_NAME["few_samples"].training(0).labels) == 12


def test_objects_have_the_size_that_was_asked_for() -> None:
    random = np.random.default_rng(0)
    for letter in ("L", "K"):
        areas = [letter_mask(letter, np.log(0.1), random).mean() for _ in range(20)]
        assert np.mean(areas) == pytest.approx(0.1, rel=0.1) and min(areas) > 0.07
    assert np.mean([blob_mask(0.2, random).mean() for _ in range(20)]) == pytest.approx(0.2, rel=0.1)


def test_the_shift_is_in_the_test_images_alone() -> None:
    task = BY_NAME["colour_shift"]
    training, test = (split.pixels.reshape(-1, 3).mean(0) for split in (task.training(0), task.test()))
    assert test[2] / test[0] < 0.7 * training[2] / training[0]


def test_classes_differ_in_what_they_are_named_after() -> None:
    red, green = hue_colour(0.0, 0.9), hue_colour(1 / 3, 0.9)
    assert red.argmax() == 0 and green.argmax() == 1

    def isotropy(name: str) -> float:
        """The smaller over the larger variance of the gradient along its two axes: 0 where only one direction varies."""
        gradients = np.stack([each.ravel() for each in np.gradient(texture_field(name, np.random.default_rng(3)))])
        least, most = np.linalg.eigvalsh(gradients @ gradients.T)
        return least / most

    assert isotropy("stripes") < 0.05 < 0.5 < isotropy("checks")


def test_a_balanced_draw_takes_as_many_of_each_class() -> None:
    pool = Split(np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1), np.repeat([0, 1, 2], [15, 10, 5]))
    drawn = balanced(pool, 12, 0)
    assert np.bincount(drawn.labels).tolist() == [4, 4, 4] and len(np.unique(drawn.pixels)) == 12
    assert np.bincount(balanced(pool, 300, 0).labels).tolist() == [5, 5, 5]
    assert not np.array_equal(drawn.pixels, balanced(pool, 12, 1).pixels)


def test_real_tasks_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(choice_real, "DATA", tmp_path)
    assert real_tasks() == ([], f"no real images at {tmp_path} (set MICROTOME_DATA)")


@pytest.mark.skipif(not choice_real.DATA.is_dir(), reason=f"no real images at {choice_real.DATA} (set MICROTOME_DATA)")
def test_real_tasks_share_no_image_between_training_and_test() -> None:
    tasks, reason = real_tasks(training=48, test=120)
    assert not reason and [task.name for task in tasks] == ["cifar10", "tiny_imagenet", "camvid", "retina"]
    for task in tasks:
        training, test = task.training(0), task.test()
        assert np.unique(np.bincount(training.labels, minlength=len(task.classes))).size == 1
        assert not images_of(training) & images_of(test), task.name
        assert np.bincount(test.labels, minlength=len(task.classes)).min() >= 12, task.name
