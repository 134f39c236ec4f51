"""Folders, globs and files: what is listed, in what order, by which classes, and what is said when nothing can be used."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microtome.errors import ImagesError
from microtome.images import Images, SkippedFile
from microtome.images.listing import list_images, top_folders

Write = Callable[..., Path]


def test_order_is_by_path_whatever_the_locale_and_the_moment(written: Write, tmp_path: Path) -> None:
    for name in ("ä.png", "b.PNG", "a b.jpg", "Z.png", "in/a.png", "10.png", "9.png", "日本.png"):
        written(name)
    found = Images.folder(tmp_path)
    assert found.names == ("10.png", "9.png", "Z.png", "a b.jpg", "b.PNG", "in/a.png", "ä.png", "日本.png")
    assert found.labels is None
    assert found.classes is None
    assert [item.name for item in found] == list(found.names)


def test_hidden_and_system_files_are_passed_over(written: Write, tmp_path: Path) -> None:
    written("a.png")
    for name in (".hidden.png", "Thumbs.db", ".DS_Store", "notes.txt", "__MACOSX/._a.png", ".git/x.png"):
        written(name, b"not an image")
    found = Images.folder(tmp_path)
    assert found.names == ("a.png",)
    assert found.skipped == ()


def test_class_folders(written: Write, tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/deep/2.png", "cat/1.png", "stray.png", "emu/1.png"):
        written(name)
    found = Images.folder(tmp_path)
    assert found.classes == ("cat", "dog", "emu")
    assert dict(zip(found.names, found.labels.tolist(), strict=True)) == {
        "cat/1.png": 0, "cat/deep/2.png": 0, "dog/1.png": 1, "emu/1.png": 2, "stray.png": -1
    }  # fmt: skip
    assert found[4].label is None
    assert Images.folder(tmp_path, labels="none").labels is None
    assert not found.classes_are_wordnet


def test_a_single_folder_inside_is_looked_through(written: Write, tmp_path: Path) -> None:
    for name in ("photos/cat/1.png", "photos/dog/1.png"):
        written(name)
    assert Images.folder(tmp_path).classes == ("cat", "dog")
    assert Images.folder(tmp_path / "photos" / "cat").classes is None


def test_splits_are_no_classes(written: Write, tmp_path: Path) -> None:
    written("train/cat/1.png")
    written("val/cat/1.png")
    with pytest.raises(ImagesError, match=r"holds splits \(train, val\), not classes; give one of them, such as '.*train'"):
        Images.folder(tmp_path)
    assert len(Images.folder(tmp_path, labels="none")) == 2


def test_a_class_called_mask_is_a_class(written: Write, tmp_path: Path) -> None:
    for name in ("mask/m1.png", "no_mask/n1.png"):
        written(name)
    assert Images.folder(tmp_path).classes == ("mask", "no_mask")


def test_globs_and_single_files(written: Write, tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/1.jpg", "dog/2.png", "[odd] name.png"):
        written(name)
    found = Images.folder(f"{tmp_path}/*/*.jpg")
    assert found.names == ("cat/1.jpg", "dog/1.jpg")
    assert found.classes == ("cat", "dog")
    assert found.kind == "glob"
    assert Images.folder(tmp_path / "[odd] name.png").names == ("[odd] name.png",)
    assert Images.one(tmp_path / "dog" / "2.png").kind == "file"
    with pytest.raises(ImagesError, match="matches no image"):
        Images.folder(f"{tmp_path}/*/*.webp")
    with pytest.raises(ImagesError, match=r"is a folder; use Images.folder"):
        Images.one(tmp_path)


def test_what_cannot_be_read_is_skipped_with_a_reason(written: Write, tmp_path: Path) -> None:
    written("good.png")
    written("zero.jpg", b"")
    written("text.jpg", b"some words, no image\n")
    written("phone.HEIC", b"x")
    cut = written("cut.png", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    cut.write_bytes(cut.read_bytes()[:3000])
    (tmp_path / "broken link.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    found = Images.folder(tmp_path)
    assert found.names == ("good.png",)
    assert [one.path for one in found.skipped] == [
        "broken link.png",
        "cut.png",
        "phone.HEIC",
        "pipe.png",
        "text.jpg",
        "zero.jpg",
    ]
    assert found.skipped[0] == SkippedFile("broken link.png", "a broken link")
    assert all(one.reason and "\n" not in one.reason for one in found.skipped)
    assert "6 skipped" in found.describe()
    assert found.json()["skipped"][5] == {"path": "zero.jpg", "reason": "an empty file (0 bytes)"}
    assert Images.folder(tmp_path).skipped == found.skipped


def test_a_file_that_goes_away_later_is_named(written: Write, tmp_path: Path, recipe) -> None:
    written("a.png")
    written("b.png")
    found = Images.folder(tmp_path)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImagesError, match=r"b.png' cannot be read: the file has gone"):
        found.pixels(recipe)


def test_links_to_folders_are_followed_once(written: Write, tmp_path: Path) -> None:
    written("elsewhere/cat/1.png")
    written("set/dog/1.png")
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    (tmp_path / "set" / "dog" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "up").symlink_to(tmp_path)
    found = Images.folder(tmp_path / "set")
    assert found.names == ("cat/1.png", "dog/1.png")
    assert found.classes == ("cat", "dog")
    assert [one.path for one in found.skipped] == ["dog/loop", "up"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("phots", r"There is nothing at '.*phots'.* Did you mean 'photos'\?"),
        ("photos/deep/er", r"There is nothing at .* exists, but has no 'deep'\."),
        ("empty", r"holds no images \(it is empty\)"),
        ("texts", r"holds no images \(only others, such as a\.txt, b\.md\)"),
        ("texts/a.txt", r"is not an image that can be read: give a folder"),
        ("set.zip", r"is not an image that can be read: unpack it"),
        ("heics", r"holds no image that can be read; the first of 1 skipped is x\.heic: HEIC"),
        ("bad", r"None of the 2 images at .* can be read; the first is a\.png: text, not an image\."),
    ],
)
def test_errors_say_what_would_do(written: Write, tmp_path: Path, given: str, said: str) -> None:
    written("photos/a.png")
    (tmp_path / "empty").mkdir()
    for name in ("texts/a.txt", "texts/b.md", "heics/x.heic", "bad/a.png", "bad/b.png", "set.zip"):
        written(name, b"words")
    with pytest.raises(ImagesError, match=said) as caught:
        Images.folder(tmp_path / given)
    assert "\n" not in str(caught.value)


def test_addresses_and_nothing() -> None:
    with pytest.raises(ImagesError, match="is a web address"):
        Images.folder("https://example.org/a.jpg")
    with pytest.raises(ImagesError, match="The path is empty"):
        Images.folder("")


def test_the_digest_follows_content_and_nothing_else(written: Write, tmp_path: Path) -> None:
    for name in ("set/cat/1.png", "set/dog/1.png", "set/dog/2.png"):
        written(name)
    before = Images.folder(tmp_path / "set").digest()
    os.utime(tmp_path / "set" / "dog" / "1.png", (1, 1))
    assert Images.folder(tmp_path / "set").digest() == before
    (tmp_path / "set").rename(tmp_path / "moved")
    assert Images.folder(tmp_path / "moved").digest() == before
    assert Images.folder(tmp_path / "moved", labels="none").digest() != before
    file = tmp_path / "moved" / "dog" / "1.png"
    file.write_bytes(file.read_bytes() + b"\0")
    changed = Images.folder(tmp_path / "moved").digest()
    assert changed != before
    file.rename(file.with_name("3.png"))
    assert Images.folder(tmp_path / "moved").digest() not in (before, changed)


@pytest.mark.parametrize(
    "junk", [".git", "__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found", "#recycle", "__pycache__"]
)
def test_what_systems_leave_is_no_class(written: Callable[..., Path], tmp_path: Path, junk: str) -> None:
    for name in ("a/1.png", "b/1.png", f"{junk}/1.png", f"a/{junk}/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        written(name)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    found = list_images(tmp_path)
    assert found.names == ("a/1.png", "b/1.png")
    assert top_folders(found.names, found.base) == ["a", "b"]
    assert list_images(f"{tmp_path}/**/*.png").names == ("a/1.png", "b/1.png")


@given(st.sets(st.integers(0, 10**6), min_size=2), st.booleans())
def test_numbered_folders_are_in_numeric_order(numbers: set[int], padded: bool) -> None:
    width = 7 if padded else 0
    names = [f"{one:0{width}d}" for one in sorted(numbers)]
    assert top_folders([f"{name}/x.png" for name in reversed(names)], "") == names
    assert top_folders([f"{name}/x.png" for name in [*names, "other"]], "") == sorted([*names, "other"])
