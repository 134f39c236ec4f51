"""Where images come from: files told apart by their content, and generated scenes drawn once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import BadOption, ImagesError, UnknownName
from microtome.images import Images, scenes
from microtome.images.masks import MaskFile
from microtome.images.shapes import Regions
from microtome.images.sources import FileSource, content_hash, scene_source

Write = Callable[..., Path]


def test_generated_scenes(plain) -> None:
    found = Images.scenes(12, seed=3, size=(24, 32), clutter=(0, 0), area=[0.1, 0.2])
    assert len(found) == 12
    item, drawn = found[5], scenes.scene(5, seed=3, size=(24, 32), controls=scenes.Controls(clutter=(0, 0), area=(0.1, 0.2)))
    assert np.array_equal(np.asarray(item.picture), drawn.pixels)
    assert np.array_equal(item.mask, drawn.mask)
    assert item.facts.items() >= drawn.facts.items()
    assert found.facts("clutter").tolist() == [0] * 12
    assert found.classes == scenes.CLASSES
    assert found.labels.tolist() == [scenes.scene(at, seed=3).label for at in range(12)]
    assert np.array_equal(found.masks(plain((24, 32)), [5])[0], drawn.mask)
    same = Images.scenes(12, seed=3, size=(24, 32), clutter=(0, 0), area=(0.1, 0.2))
    others = [
        Images.scenes(12, seed=4),
        Images.scenes(12),
        Images.scenes(11),
        Images.scenes(12, size=32),
        Images.scenes(12, clutter=(0, 0)),
    ]
    assert same.digest() == found.digest()
    assert len({one.digest() for one in (found, *others)}) == 6


def test_a_scene_is_drawn_once_however_often_it_is_asked_for(plain, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    plainly = scenes.scene

    def noted(index: int, **given):
        drawn.append(index)
        return plainly(index, **given)

    monkeypatch.setattr(scenes, "scene", noted)
    count = 150  # more than are remembered whole
    found = Images.scenes(count, seed=977, size=(9, 13))
    found.pixels(plain((9, 13)))
    masks, clutter, area = found.masks(plain((9, 13))), found.facts("clutter"), found.take([3, 140]).facts("area")
    assert sorted(drawn) == list(range(count))
    own = [plainly(at, seed=977, size=(9, 13)) for at in range(count)]
    assert np.array_equal(masks, [one.mask for one in own])
    assert clutter.tolist() == [one.facts["clutter"] for one in own]
    assert area.tolist() == [own[at].mask.mean() for at in (3, 140)]
    found[count - 1].mask[:] = True
    assert np.array_equal(found[count - 1].mask, own[-1].mask)  # what is given out does not change what is remembered


def test_scenes_of_some_classes() -> None:
    found = Images.scenes(5, classes=("star", "disc"))
    assert found.labels.tolist() == [
        scenes.scene(at, controls=scenes.Controls(classes=("star", "disc"))).label for at in range(5)
    ]
    with pytest.raises(UnknownName, match="no control 'cluter'\\. Did you mean 'clutter'"):
        Images.scenes(5, cluter=(0, 1))
    with pytest.raises(BadOption, match="count is 0"):
        Images.scenes(0)
    with pytest.raises(BadOption):
        Images.scenes(3, size=2)


def test_small_scenes_are_drawn_in_one_thread_and_large_ones_in_several() -> None:
    assert (Images.scenes(1, size=(128, 128)).source.most_threads, Images.scenes(1, size=224).source.most_threads) == (1, None)


def test_the_hash_of_a_file_is_that_of_its_bytes_and_follows_them(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert content_hash(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file.write_bytes(b"")
    assert content_hash(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    file.unlink()
    with pytest.raises(ImagesError, match=r"a.bin' was there when the folder was opened and cannot be read now \(No such file"):
        content_hash(file)


def test_a_file_changes_its_identity_with_its_pixels_its_mask_and_its_marks(written: Write, tmp_path: Path) -> None:
    written("a.png")
    mask = written("a_mask.png", np.eye(4, 6, dtype=np.uint8))

    def identity(mark) -> str:
        return FileSource("folder", tmp_path, ["a.png"], [mark], [None]).identity(0)

    marks = [
        None,
        Regions(boxes=((0, 0, 1, 1),)),
        Regions(boxes=((0, 0, 1, 2),)),
        MaskFile(mask),
        MaskFile(mask, frozenset({1})),
    ]
    before = [identity(mark) for mark in marks]
    assert len(set(before)) == 5
    written("a_mask.png", np.ones((4, 6), np.uint8))
    assert [identity(mark) == old for mark, old in zip(marks, before, strict=True)] == [True, True, True, False, False]
    written("a.png", (0, 255, 0))
    assert not set(before) & {identity(mark) for mark in marks}


def test_a_file_says_its_size_and_what_is_marked_on_it(written: Write, tmp_path: Path) -> None:
    written("a.png", size=(4, 6))
    boxes = Regions(boxes=((0, 0, 2, 3), (3, 5, 4, 6)))
    outline = Regions(outlines=(((0.0, 0.0, 6.0, 0.0, 6.0, 4.0, 0.0, 4.0),),))
    files = FileSource("folder", tmp_path, ["a.png"] * 3, [None, boxes, outline], [None] * 3)
    assert [files.mark_kind(place) for place in range(3)] == [None, "box", "mask"]
    assert [files.facts(place) for place in range(2)] == [
        {"rows": 4.0, "cols": 6.0},
        {"rows": 4.0, "cols": 6.0, "objects": 2.0},
    ]
    masks = [files.mask(place) for place in range(3)]
    assert masks[0] is None and masks[1] is not None and masks[2] is not None
    assert (int(masks[1].sum()), int(masks[2].sum())) == (7, 24)


def test_a_damaged_file_is_named_with_the_command_that_leaves_it_out(written: Write, tmp_path: Path) -> None:
    written("a.png", b"words")
    files = FileSource("folder", tmp_path, ["a.png"], [None], [None])
    for ask in (files.picture, files.header, files.facts):
        with pytest.raises(ImagesError, match=r"a.png' cannot be read: .*Images.folder\('.*', check='full'\) to leave out"):
            ask(0)


def test_scenes_are_named_in_order() -> None:
    assert [scene_source(count, 0, 16, {}).name(7) for count in (8, 11, 101)] == ["scene-7", "scene-07", "scene-007"]
    for count in (0, -1, 2.5, True):
        with pytest.raises(BadOption, match="give a whole number of scenes from 1 on"):
            scene_source(count, 0, 16, {})
