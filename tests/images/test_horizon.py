"""Scenes with a horizon: the same every time, the class is what the image shows, and up differs from down but left not from right."""

import math
from dataclasses import replace

import numpy as np
import pytest

from microtome.errors import BadOption, UnknownName
from microtome.images.horizon import FACTORS, HorizonControls, horizon_images, horizon_scene, octave_noise
from microtome.images.words import generate_images

EVERY = HorizonControls(factors=("place", "light", "order", "body"))


def test_a_scene_is_the_same_in_any_order_and_differs_from_its_neighbours() -> None:
    forward = [horizon_scene(index).pixels for index in range(5)]
    backward = [horizon_scene(index).pixels for index in reversed(range(5))][::-1]
    assert all(np.array_equal(one, two) for one, two in zip(forward, backward, strict=True))
    assert len({pixels.tobytes() for pixels in forward}) == 5
    assert not np.array_equal(horizon_scene(3).pixels, horizon_scene(3, seed=1).pixels)


@pytest.mark.parametrize("index", range(4))
def test_another_size_shows_the_same_scene(index: int) -> None:
    small, large = horizon_scene(index, size=64), horizon_scene(index, size=256)
    assert {**small.facts, "area": 0} == {**large.facts, "area": 0}
    shrunk = large.pixels.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small.pixels).mean() < 6  # of 255; the wrong scene is 40 and more away
    assert np.abs(shrunk - horizon_scene(index + 1).pixels).mean() > 20


def test_the_classes_are_all_combinations_and_the_facts_agree_with_them() -> None:
    assert len(EVERY.classes) == 3 * 2 * 2 * 3  # by hand: the product of the factors' values
    assert EVERY.classes[0] == "above-top-ball_up-block"
    for index in range(0, 36, 5):
        drawn = horizon_scene(index, controls=EVERY)
        values = [FACTORS[name][int(drawn.facts[name])] for name in EVERY.factors]
        assert EVERY.classes[drawn.label] == "-".join(values)
        assert drawn.label == index


def test_the_stack_stands_where_the_class_says() -> None:
    for index in range(36):
        drawn = horizon_scene(index, size=128, controls=EVERY)
        rows = np.flatnonzero(drawn.mask.any(1)) / 128
        place, horizon = FACTORS["place"][int(drawn.facts["place"])], drawn.facts["horizon"]
        assert place == ("above" if rows[-1] < horizon else "below" if rows[0] > horizon else "on")
        assert rows[0] > 0  # nothing is cut off
        assert rows[-1] < 127 / 128


def test_the_bodies_have_their_areas_and_their_order() -> None:
    """By hand, in squared radii: disc pi, block 1.8 squared, cross 2 x 0.72 x 2 - 0.72 squared, ring pi x 3/4."""
    areas = {"block": 1.8**2, "cross": 2 * 0.72 * 2 - 0.72**2, "ring": math.pi * 0.75}
    for index in range(12):
        drawn = horizon_scene(index, size=256, controls=replace(EVERY, factors=("order", "body")))
        radius = drawn.facts["radius"] * 256
        middle = round(drawn.facts["row"] * 256)
        up, down = drawn.mask[:middle].sum() / radius**2, drawn.mask[middle:].sum() / radius**2
        ball, other = (up, down) if drawn.facts["order"] == 0 else (down, up)
        assert ball == pytest.approx(math.pi, rel=0.03)  # 17 px of radius: a pixel row is 2% of a body
        assert other == pytest.approx(areas[FACTORS["body"][int(drawn.facts["body"])]], rel=0.05)


def test_the_light_comes_from_where_the_class_says() -> None:
    controls = HorizonControls(factors=("light",), contrast=(0.8, 0.8))
    for index in range(12):
        drawn = horizon_scene(index, size=128, controls=controls)
        radius, middle = drawn.facts["radius"] * 128, drawn.facts["row"] * 128
        grey = drawn.pixels.mean(2)
        for centre in (middle - radius, middle + radius):
            rows = np.arange(128) + 0.5
            halves = [
                drawn.mask & half[:, None]
                for half in ((rows < centre) & (rows > centre - radius), (rows > centre) & (rows < centre + radius))
            ]
            top, bottom = (grey[half].mean() for half in halves)
            assert (top > bottom) == (drawn.facts["light"] == 0)


def test_up_differs_from_down_and_left_not_from_right() -> None:
    """The mean of 96 scenes: its rows differ, and its two sides only as much as their textures' standard error."""
    mean = np.stack([horizon_scene(index, size=32).pixels.mean(2) for index in range(96)]).mean(0)
    assert mean.mean(1).std() > 15
    assert np.abs(mean - mean[:, ::-1]).mean() < 6
    assert np.abs(mean - mean[::-1]).mean() > 15


def test_the_textures_have_a_spectrum_of_about_one_over_the_frequency() -> None:
    """Slope of log amplitude over log frequency along the rows between 2 and 14 periods an image; white noise has 0."""
    random = np.random.default_rng(0)
    noise = np.stack([octave_noise(random, 64, 1) for _ in range(60)])
    assert noise.std() == pytest.approx(1, abs=0.2)
    amplitude = np.sqrt((np.abs(np.fft.rfft(noise, axis=2)) ** 2).mean((0, 1)))[2:15]
    slope = np.polyfit(np.log(np.arange(2, 15)), np.log(amplitude), 1)[0]
    assert -2.2 < slope < -0.8  # a line through the plane falls steeper by up to a half


def test_one_range_moves_no_other_draw() -> None:
    plain, changed = horizon_scene(7), horizon_scene(7, controls=HorizonControls(col=(0.5, 0.5)))
    assert changed.facts["col"] == 0.5
    assert {**plain.facts, "col": 0, "area": 0} == {**changed.facts, "col": 0, "area": 0}


def test_as_images_by_word_and_turned() -> None:
    plain = generate_images("horizon:6,seed=3,size=32,factors=place+light,horizon=0.45-0.55")
    assert plain.classes == ("above-top", "above-bottom", "on-top", "on-bottom", "below-top", "below-bottom")
    assert plain.labels is not None
    assert plain.labels.tolist() == [0, 1, 2, 3, 4, 5]
    turned = generate_images("horizon:6,seed=3,size=32,factors=place+light,horizon=0.45-0.55,turn=90")
    assert np.array_equal(np.asarray(turned[2].picture), np.rot90(np.asarray(plain[2].picture)))
    assert plain.digest() == horizon_images(6, 3, 32, "place+light", horizon=(0.45, 0.55)).digest()
    assert plain.digest() != generate_images("horizon:6,seed=3,size=32,factors=place+light").digest()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"factors": "place+lihgt"}, "Did you mean 'light'"),
        ({"factors": ""}, "name one or more of place, light, order, body"),
        ({"factors": "place+place"}, "each once"),
        ({"horizon": (0.2, 0.5)}, r"0\.4 <= low <= high <= 0\.6"),
        ({"contrast": (0.9, 0.4)}, "contrast"),
        ({"size": 8}, "16 px"),
        ({"count": 0}, "horizon:100"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(given: dict[str, object], words: str) -> None:
    with pytest.raises((BadOption, UnknownName), match=words):
        horizon_images(**given)  # pyright: ignore[reportArgumentType]
