"""Images as a whole: tensors, scenes, choosing, pixels through a recipe, batches made ahead."""

import json
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from microtome.errors import BadOption, ImagesError, UnknownName
from microtome.images import Images, scenes
from microtome.images.feeding import PixelCache, map_in_threads, prefetch, thread_count

Write = Callable[..., Path]


def bytes_of(count: int = 4, rows: int = 8, cols: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, rows, cols, 3), np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: torch.from_numpy(x),
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2),
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255,
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).double().requires_grad_() / 255,
        lambda x: (x.transpose(0, 3, 1, 2) / 255).astype(np.float32),
    ],
)
def test_tensors_of_every_layout(given: Callable, recipe) -> None:
    x = bytes_of()
    found = Images.tensors(given(x))
    assert np.array_equal(found.pixels(recipe), x)
    assert found.digest() == Images.tensors(x).digest()
    assert found.names == ("0", "1", "2", "3")
    assert found.labels is None


def test_half_precision_and_one_channel(recipe) -> None:
    grey = Images.tensors(torch.full((2, 1, 8, 8), 0.5, dtype=torch.bfloat16))
    assert (grey.pixels(recipe) == 128).all()


def test_tensors_keep_no_hold_on_what_was_given(recipe) -> None:
    x = bytes_of()
    found = Images.tensors(x)
    before = found.digest()
    x[:] = 0
    assert found.digest() == before
    assert found.pixels(recipe).any()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((3, 8, 8), np.float32), r"x\[None\] for one"),
        (np.zeros((0, 3, 8, 8), np.float32), "at least one image"),
        (np.zeros((2, 8, 8, 3), np.float32), r"second dimension should be 3.*x.permute\(0, 3, 1, 2\)"),
        (np.full((1, 3, 8, 8), np.nan), "192 values that are not finite"),
        (np.full((1, 3, 8, 8), 254.0), "looks like 0..255: divide by 255"),
        (np.full((1, 3, 8, 8), -2.0), "looks normalised"),
        (np.zeros((1, 3, 8, 8), np.int64), "holds int64"),
        (np.zeros((1, 5, 8, 8), np.uint8), "second dimension should be 3"),
    ],
)
def test_tensors_that_will_not_do(x: np.ndarray, said: str) -> None:
    with pytest.raises(ImagesError, match=said) as caught:
        Images.tensors(x)
    assert "\n" not in str(caught.value)


def test_labels_and_masks_of_tensors(recipe) -> None:
    masks = np.zeros((4, 8, 8))
    masks[:, 2:4] = 1
    found = Images.tensors(bytes_of(), labels=torch.tensor([1, 0, -1, 1]), classes=["no", "yes"], masks=masks)
    assert found.classes == ("no", "yes")
    assert [item.label for item in found] == [1, 0, None, 1]
    assert np.array_equal(found.masks(recipe), masks > 0)
    assert found[0].facts["area"] == 0.25
    assert Images.tensors(bytes_of(), labels=[2, 0, 1, 1]).classes == ("0", "1", "2")
    for arguments, said in (
        ({"labels": [0, 1]}, "give 4 whole numbers"),
        ({"labels": [0, 1, 2, 0.5]}, "give 4 whole numbers"),
        ({"labels": [0, 1, 2, 0], "classes": ["a", "b"]}, "go from 0 to 2; for 2 classes"),
        ({"classes": ["a"]}, "classes were given without labels"),
        ({"masks": np.zeros((4, 8, 9))}, r"should be \(4, 8, 8\)"),
    ):
        with pytest.raises(ImagesError, match=said):
            Images.tensors(bytes_of(), **arguments)


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


def test_choosing() -> None:
    found = Images.tensors(bytes_of(10), labels=np.arange(10) % 2)
    some = found.take([7, 0, -1])
    assert some.names == ("7", "0", "9")
    assert some.labels.tolist() == [1, 0, 1]
    assert some.take([1]).names == ("0",)
    assert found.take(found.labels == 1).names == ("1", "3", "5", "7", "9")
    assert found.take([0, 1]).digest() != found.take([1, 0]).digest()
    assert found.take(range(10)).digest() == found.digest()
    assert found.limit(None) is found
    assert np.bincount(found.limit(4, seed=2).labels).tolist() == [2, 2]
    for wrong in ([10], [-11], [0.5], []):
        with pytest.raises(BadOption):
            found.take(wrong)
    with pytest.raises(IndexError):
        _ = found[10]


def test_facts_by_name() -> None:
    found = Images.scenes(3, size=32)
    assert found.facts("area").tolist() == [item.facts["area"] for item in found]
    assert found.facts("nonsense") is None


def test_pixels_are_kept_by_recipe(plain, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Images.tensors(bytes_of(5))
    asked: list[int] = []
    inner = found.source.picture
    monkeypatch.setattr(found.source, "picture", lambda place, least=None: (asked.append(place), inner(place, least))[1])
    first = found.pixels(plain())
    assert sorted(asked) == [0, 1, 2, 3, 4]
    assert np.array_equal(found.take([3, 1]).pixels(plain()), first[[3, 1]])
    assert len(asked) == 5
    assert np.array_equal(found.pixels(plain(flip=True), [2])[0], first[2][:, ::-1])
    assert len(asked) == 6


def test_what_is_given_out_does_not_change_what_is_kept(recipe) -> None:
    found = Images.tensors(bytes_of(2))
    found.pixels(recipe)[:] = 0
    found.take([0]).pixels(recipe)[:] = 0
    assert np.array_equal(found.pixels(recipe), bytes_of(2))


def test_the_cache_keeps_to_its_limit() -> None:
    cache = PixelCache(limit=100)
    for place in range(5):
        cache.keep("a", place, np.zeros(30, np.uint8))
    assert [place for place in range(5) if cache.find("a", place) is not None] == [0, 1, 2]
    assert cache.used == 90
    cache.keep("b", 0, np.zeros(30, np.uint8))
    assert cache.find("a", 0) is None
    assert cache.find("b", 0) is not None
    assert cache.used == 30
    cache.keep("b", 1, np.zeros(101, np.uint8))
    assert cache.find("b", 1) is None


@pytest.mark.parametrize("start", [0, 4])
def test_batches(recipe, start: int) -> None:
    found = Images.tensors(bytes_of(10), labels=np.arange(10))
    parts = list(found.batches(recipe, 4, start=start))
    assert [part.index.tolist() for part in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]][start // 4 :]
    for part in parts:
        assert np.array_equal(part.pixels, bytes_of(10)[part.index])
        assert np.array_equal(part.labels, part.index)
    assert [part.index[0] for part in found.batches(recipe, 4, shard=(1, 2))] == [4]
    assert list(found.batches(recipe, 4, start=10)) == []
    with pytest.raises(BadOption):
        found.batches(recipe, 0)


def test_stopping_early_leaves_no_thread(recipe) -> None:
    found = Images.scenes(200, size=16)
    before = threading.active_count()
    stream = found.batches(recipe, 10)
    next(stream)
    stream.close()
    assert threading.active_count() == before

    def interrupted() -> None:
        for _ in found.batches(recipe, 10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert threading.active_count() == before


def test_the_next_is_made_while_the_last_is_used() -> None:
    begun = [threading.Event() for _ in range(3)]

    def made(number: int, stop: threading.Event) -> int:
        begun[number].set()
        return number

    stream = prefetch(made, range(3))
    assert next(stream) == 0
    assert begun[1].wait(10)
    assert list(stream) == [1, 2]


def test_an_error_in_the_thread_reaches_the_caller(written: Write, tmp_path: Path, recipe) -> None:
    for number in range(4):
        written(f"{number}.png")
    found = Images.folder(tmp_path)
    (tmp_path / "3.png").write_bytes(b"words")
    stream = found.batches(recipe, 2)
    assert next(stream).index.tolist() == [0, 1]
    with pytest.raises(ImagesError, match=r"3.png' cannot be read: text, not an image"):
        next(stream)


def test_mapped_works_in_no_more_threads_than_asked_for() -> None:
    def worker(_: int) -> str:
        return threading.current_thread().name

    assert set(map_in_threads(worker, range(50), most=1)) == {threading.current_thread().name}
    assert threading.current_thread().name not in set(map_in_threads(worker, range(50), most=2)) or thread_count() == 1


def test_small_scenes_are_drawn_in_one_thread_and_large_ones_in_several() -> None:
    assert (Images.scenes(1, size=(128, 128)).source.most_threads, Images.scenes(1, size=224).source.most_threads) == (1, None)


def test_mapped_keeps_the_order_of_many() -> None:
    assert list(map_in_threads(lambda number: number * 2, range(500))) == list(range(0, 1000, 2))


def test_facts_for_a_finding(written: Write, tmp_path: Path) -> None:
    written("set/cat/a.png")
    written("set/dog/b.png")
    found = Images.folder(tmp_path / "set")
    card = json.loads(json.dumps(found.json()))
    assert {key: card[key] for key in ("name", "kind", "count", "classes", "has_masks", "skipped")} == {
        "name": "set", "kind": "folder", "count": 2, "classes": ["cat", "dog"], "has_masks": False, "skipped": []
    }  # fmt: skip
    assert card["digest"] == found.digest()
    assert found.describe() == "set: 2 images, 2 classes"
    assert repr(found) == "<Images set: 2 images, 2 classes>"


def test_a_copy_in_another_process_is_the_same_set(written: Write, tmp_path: Path, recipe) -> None:
    written("a.png")
    written("a_mask.png", np.ones((4, 6), np.uint8))
    for found in (Images.folder(tmp_path), Images.scenes(3, size=16), Images.tensors(bytes_of())):
        found.pixels(recipe)
        copy = pickle.loads(pickle.dumps(found))
        assert copy.digest() == found.digest()
        assert np.array_equal(copy.pixels(recipe), found.pixels(recipe))
