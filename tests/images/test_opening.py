"""What is opened of a listing: how deep it is checked, which images a limit keeps, and what the notes say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import BadOption, ImagesError
from microtome.images import Images, opening
from microtome.images.opening import spread_order

Write = Callable[..., Path]


def test_depth_of_the_check(written: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("a.png")
    cut = written("cut.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    cut.write_bytes(cut.read_bytes()[:3000])
    written("text.png", b"words")
    assert Images.folder(tmp_path, check="full").names == ("a.png",)
    assert Images.folder(tmp_path, check="header").names == ("a.png", "cut.png")
    assert Images.folder(tmp_path, check="none").names == ("a.png", "cut.png", "text.png")
    monkeypatch.setattr(opening, "MAX_FULL_FILES", 2)
    assert Images.folder(tmp_path).names == ("a.png", "cut.png")
    with pytest.raises(
        ImagesError, match=r"cut.png' cannot be read: .*; open it again with Images.folder\('.*', check='full'\)"
    ):
        _ = Images.folder(tmp_path)[1]
    with pytest.raises(BadOption, match=r"check is 'ful'.*Did you mean 'full'\?"):
        Images.folder(tmp_path, check="ful")


def test_a_limit_is_even_over_the_classes_and_the_same_every_time(written: Write, tmp_path: Path) -> None:
    for number in range(20):
        written(f"cat/{number:02d}.png", (number, 0, 0))
        written(f"dog/{number:02d}.png", (0, number, 0))
    found = Images.folder(tmp_path, limit=10)
    assert np.bincount(found.labels).tolist() == [5, 5]
    assert list(found.names) == sorted(found.names)
    assert Images.folder(tmp_path, limit=10).digest() == found.digest()
    assert Images.folder(tmp_path, limit=10, seed=1).names != found.names
    assert Images.folder(tmp_path, limit=99).names == Images.folder(tmp_path).names
    assert Images.folder(tmp_path).limit(10).names == found.names
    with pytest.raises(BadOption, match="limit is 0"):
        Images.folder(tmp_path, limit=0)


def test_a_limit_is_kept_though_some_are_broken(written: Write, tmp_path: Path) -> None:
    for number in range(10):
        written(f"{number}.png", b"words" if number % 2 else (number, 0, 0))
    found = Images.folder(tmp_path, limit=5)
    assert found.names == ("0.png", "2.png", "4.png", "6.png", "8.png")
    assert 0 < len(found.skipped) <= 5


def test_every_beginning_of_the_spread_is_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    order = spread_order(labels, 100, 100, 3)
    assert sorted(order) == list(range(100))
    for count in (10, 20, 50):
        assert np.abs(np.bincount(labels[order[:count]], minlength=3) - np.array([0.1, 0.3, 0.6]) * count).max() <= 1


def test_what_is_worth_a_note(tmp_path: Path, written: Write) -> None:
    written("a.png")
    written("b.png", np.zeros((3, 3), np.uint16))
    assert Images.folder(tmp_path).notes == ("1 of 2 images are 16-bit grey: scaled by 65535",)
