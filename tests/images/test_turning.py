"""Quarter turns: pixels, masks, bands, places and digests, by hand and against numpy."""

from typing import Any

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.errors import BadOption
from microtome.images.turning import TurnedSource, turn_images

TWO_BY_THREE = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)


def grey(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(values[None, :, :, None], 3, axis=3)


@pytest.mark.parametrize(
    ("turn", "by_hand"),
    [
        (90, [[3, 6], [2, 5], [1, 4]]),  # anticlockwise: the right column becomes the top row
        (180, [[6, 5, 4], [3, 2, 1]]),
        ("270", [[4, 1], [5, 2], [6, 3]]),
    ],
)
def test_turns_by_hand(turn: str | int, by_hand: list[list[int]]) -> None:
    masks = (TWO_BY_THREE > 4)[None]
    images = turn_images(mt.Images.tensors(grey(TWO_BY_THREE), labels=[1], classes=["a", "b"], masks=masks), turn)
    item = images[0]
    assert np.array_equal(np.asarray(item.picture)[..., 0], by_hand)
    assert item.mask is not None and np.array_equal(item.mask, np.array(by_hand) > 4)
    assert (item.label, images.classes) == (1, ("a", "b"))
    assert (item.facts["rows"], item.facts["cols"], item.facts["turn"]) == (*np.shape(by_hand), float(turn))


def test_bands_turn_as_pixels_do() -> None:
    values = np.arange(2 * 4 * 5, dtype=np.float32).reshape(1, 5, 2, 4)
    images = turn_images(mt.Images.tensors(torch.from_numpy(values)), 90)
    assert isinstance(images.source, TurnedSource)
    assert np.array_equal(images.source.values(0), np.rot90(values[0].transpose(1, 2, 0)))


def test_known_places_turn_along() -> None:
    """The centre of the turned mask is where `row` and `col` now say; scenes keep the objects whole, so masses are equal."""
    plain = mt.Images.scenes(8, seed=3, size=48, area=(0.05, 0.1), classes=("disc",), clutter=(0, 0))
    for turn in (90, 180, 270, "random"):
        for item in turn_images(plain, turn, seed=1):
            assert item.mask is not None
            rows, cols = np.nonzero(item.mask)
            assert rows.mean() + 0.5 == pytest.approx(48 * item.facts["row"], abs=0.3)
            assert cols.mean() + 0.5 == pytest.approx(48 * item.facts["col"], abs=0.3)
            assert ("horizon" in item.facts) == (item.facts["turn"] == 0)


def test_random_turns_belong_to_the_image() -> None:
    plain = mt.Images.scenes(400, size=8)
    images = turn_images(plain, "random", seed=5)
    turns = images.facts("turn")
    assert turns is not None
    counts = [int((turns == angle).sum()) for angle in (0, 90, 180, 270)]
    assert min(counts) > 70  # binomial(400, 1/4): 100 ± 8.7; 70 is 3.4 standard deviations away
    chosen = images.take([7, 300, 2]).facts("turn")
    assert chosen is not None and chosen.tolist() == turns[[7, 300, 2]].tolist()
    again, other = (turn_images(plain, "random", seed=seed).facts("turn") for seed in (5, 6))
    assert np.array_equal(again, turns) and not np.array_equal(other, turns)


def test_four_quarters_are_none_and_digests_differ() -> None:
    plain = mt.Images.scenes(3, size=(16, 24))
    images = plain
    for _ in range(4):
        images = turn_images(images, 90)
    assert all(np.array_equal(np.asarray(one.picture), np.asarray(two.picture)) for one, two in zip(plain, images, strict=True))
    assert np.asarray(turn_images(plain, 90)[0].picture).shape == (24, 16, 3)
    digests = {turn_images(plain, turn).digest() for turn in ("none", 90, 180, 270)}
    assert len(digests) == 4 and turn_images(plain, "none") is plain and turn_images(plain, 0) is plain


def test_networks_get_turned_pixels() -> None:
    net = mt.open("microtome:mini_resnet", weights=None)
    plain = mt.Images.scenes(4, size=64)
    turned = turn_images(plain, 90)
    assert np.array_equal(turned.pixels(net.recipe), np.rot90(plain.pixels(net.recipe), axes=(1, 2)))
    assert turned.options["turn"] == "90" and turned.name.endswith("-turn-90")


def test_what_is_refused() -> None:
    plain = mt.Images.scenes(2, size=8)
    with pytest.raises(BadOption, match=r"turn is '45'; give one of none, 90, 180, 270, random"):
        turn_images(plain, 45)
    with pytest.raises(BadOption, match="Did you mean 'random'"):
        turn_images(plain, "randm")
    with pytest.raises(BadOption, match="starts at 0"):
        turn_images(plain, "random", seed=-1)
