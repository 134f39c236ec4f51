"""Generated scenes: the same every time, exact masks, every control on its own."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from microtome.errors import BadOption, UnknownName
from microtome.images.scenes import CLASSES, Controls, scene

PLAIN = Controls(clutter=(0, 0), contrast=(1, 1))


def test_a_scene_is_the_same_in_any_order_and_differs_from_its_neighbours() -> None:
    forward = [scene(index).pixels for index in range(6)]
    backward = [scene(index).pixels for index in reversed(range(6))][::-1]
    assert all(np.array_equal(one, two) for one, two in zip(forward, backward, strict=True))
    assert not any(np.array_equal(one, two) for one, two in itertools.pairwise(forward))
    assert not np.array_equal(scene(3).pixels, scene(3, seed=1).pixels)


def test_shapes_types_and_facts() -> None:
    one = scene(4, size=(48, 80))
    assert one.pixels.shape == (48, 80, 3)
    assert one.pixels.dtype == np.uint8
    assert one.mask.shape == (48, 80)
    assert one.mask.dtype == np.bool_
    assert set(one.facts) == {"area", "clutter", "contrast", "row", "col", "horizon", "hue"}
    assert one.facts["area"] == one.mask.mean()


@pytest.mark.parametrize("index", range(10))
def test_another_size_shows_the_same_scene(index: int) -> None:
    small, large = scene(index, size=64), scene(index, size=256)
    for key in ("clutter", "contrast", "horizon", "hue"):
        assert small.facts[key] == large.facts[key]
    assert small.facts["row"] == pytest.approx(large.facts["row"], abs=1e-9)
    assert small.facts["area"] == pytest.approx(large.facts["area"], abs=0.006)
    reduced = large.mask.reshape(64, 4, 64, 4).mean(axis=(1, 3)) >= 0.5
    overlap = (reduced & small.mask).sum() / (reduced | small.mask).sum()
    assert overlap > 0.93  # one pixel along the outline of an object of 100 px may differ
    shrunk = large.pixels.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small.pixels).mean() < 6  # of 255: thin strokes fall on other pixels


@pytest.mark.parametrize("area", [0.02, 0.05, 0.12, 0.25])
def test_the_asked_area_is_met(area: float) -> None:
    for index in range(20):
        found = scene(index, controls=Controls(area=(area, area))).facts["area"]
        assert found == pytest.approx(area, rel=0.10 if area < 0.04 else 0.06), CLASSES[index % 10]


def test_areas_are_log_uniform_between_the_limits() -> None:
    shares = np.array([scene(index, size=32, controls=replace(PLAIN, area=(0.02, 0.2))).facts["area"] for index in range(300)])
    middle = math.sqrt(0.02 * 0.2)  # half of a log-uniform draw lies below the geometric mean
    assert abs((shares < middle).mean() - 0.5) < 0.1  # 300 draws: standard deviation 0.029


def test_an_object_too_large_is_shrunk_into_the_frame() -> None:
    for index in range(10):
        one = scene(index, controls=Controls(area=(0.9, 0.9)))
        assert one.facts["area"] < 0.9
        centred = scene(index, controls=Controls(area=(0.9, 0.9), row=(0.5, 0.5), col=(0.5, 0.5)))
        assert one.mask.sum() == pytest.approx(centred.mask.sum(), rel=0.03)  # touching the edge, but not cut by it


def test_the_mask_of_a_disc_is_the_disc() -> None:
    one = scene(0, size=128, controls=Controls(classes=("disc",), area=(0.1, 0.1)))
    radius = math.sqrt(0.1 * 128 * 128 / math.pi)  # by hand: area = pi r^2
    row, col = np.mgrid[:128, :128] + 0.5
    away = np.hypot(row - one.facts["row"] * 128, col - one.facts["col"] * 128) - radius
    assert one.mask[away < -0.75].all()
    assert not one.mask[away > 0.75].any()
    assert one.mask.sum() == pytest.approx(math.pi * radius**2, rel=0.01)


def test_pixels_outside_the_object_do_not_know_it() -> None:
    one, two = (scene(7, controls=Controls(colour=(hue, hue))) for hue in (0.0, 0.5))
    assert np.array_equal(one.mask, two.mask)
    changed = (one.pixels != two.pixels).any(axis=2)
    assert changed[one.mask].mean() > 0.9
    rim = np.zeros_like(changed)
    for down in (-1, 0, 1):
        for over in (-1, 0, 1):
            rim |= np.roll(one.mask, (down, over), (0, 1))
    assert not changed[~rim].any()  # only the anti-aliased rim of half-covered pixels may change outside the mask


def test_no_contrast_hides_the_mean_colour() -> None:
    for index in range(20):
        hidden = scene(index, controls=replace(PLAIN, contrast=(0, 0), area=(0.1, 0.1)))
        other = scene(index, controls=replace(PLAIN, contrast=(1, 1), area=(0.1, 0.1)))
        bare = scene(index, controls=replace(PLAIN, contrast=(0, 0), area=(0.0001, 0.0001)))  # what stands behind
        behind = bare.pixels[hidden.mask].mean(axis=0)
        assert np.abs(hidden.pixels[hidden.mask].mean(axis=0) - behind).max() < 3  # of 255: rounding and rim
        assert np.abs(other.pixels[hidden.mask].mean(axis=0) - behind).max() > 40


CHANGES = {
    "area": (0.03, 0.05),
    "clutter": (0.9, 1.0),
    "contrast": (0.9, 1.0),
    "row": (0.4, 0.5),
    "col": (0.4, 0.5),
    "horizon": (0.6, 0.65),
    "colour": (0.1, 0.2),
}


@pytest.mark.parametrize("control", CHANGES)
def test_one_control_moves_no_other_draw(control: str) -> None:
    own = {"colour": "hue"}.get(control, control)
    moved = 0
    for index in range(8):
        before, after = scene(index).facts, scene(index, controls=Controls(**{control: CHANGES[control]})).facts  # pyright: ignore
        low, high = CHANGES[control]
        assert low - 0.01 <= after[own] <= high + 0.01 or control in ("row", "col")
        moved += before[own] != after[own]
        for key in before:
            if key != own and not (control == "area" and key in ("row", "col")):  # where a smaller object may stand is wider
                assert before[key] == pytest.approx(after[key], abs=0.004), key  # the measured area feels sub-pixel places
    assert moved >= 7


def test_more_clutter_adds_and_never_covers_the_object() -> None:
    quiet, loud = (scene(11, controls=Controls(clutter=(share, share), contrast=(1, 1))) for share in (0.0, 1.0))
    assert np.array_equal(quiet.mask, loud.mask)
    inside = np.abs(quiet.pixels.astype(int) - loud.pixels)[quiet.mask]
    assert inside.mean() < 25
    assert (np.abs(quiet.pixels.astype(int) - loud.pixels)[~quiet.mask] > 10).mean() > 0.05


def test_the_object_is_lit_from_above() -> None:
    brighter = 0
    for index in range(20):
        one = scene(index, controls=Controls(area=(0.2, 0.2), contrast=(1, 1)))
        rows = np.flatnonzero(one.mask.any(axis=1))
        grey = np.where(one.mask, one.pixels.mean(axis=2), np.nan)
        third = len(rows) // 3
        brighter += np.nanmean(grey[rows[:third]]) > np.nanmean(grey[rows[-third:]])
    assert brighter == 20


def test_labels_are_balanced_and_keep_their_number_in_a_selection() -> None:
    labels = [scene(index, size=16).label for index in range(50)]
    assert np.bincount(labels).tolist() == [5] * len(CLASSES)
    some = Controls(classes=("star", "ring"))
    assert [scene(index, size=16, controls=some).label for index in range(4)] == [3, 5, 3, 5]


@pytest.mark.parametrize(
    "change",
    [
        {"area": (0.5, 0.1)},
        {"area": (0.0, 0.1)},
        {"clutter": (0.0, 1.5)},
        {"row": (-0.1, 1.0)},
        {"contrast": (1.0,)},
        {"classes": ()},
    ],
)
def test_ranges_outside_their_limits_are_refused(change: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(BadOption, match=next(iter(change))):
        Controls(**change)  # pyright: ignore


def test_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'triangle'"):
        Controls(classes=("triangel",))


@pytest.mark.parametrize("wrong", [{"index": -1}, {"seed": -1}, {"size": 4}])
def test_impossible_scenes_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BadOption, match="start at 0"):
        scene(**({"index": 0} | wrong))  # pyright: ignore
