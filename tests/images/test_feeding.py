"""Decoding ahead: threads that keep the order, a cache with a limit, and batches made while the last one is used."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import BadOption, ImagesError
from microtome.images import Images
from microtome.images.feeding import PixelCache, map_in_threads, prefetch, recipe_key, thread_count

Write = Callable[..., Path]


def bytes_of(count: int = 4, rows: int = 8, cols: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, rows, cols, 3), np.uint8)


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


def test_mapped_keeps_the_order_of_many() -> None:
    assert list(map_in_threads(lambda number: number * 2, range(500))) == list(range(0, 1000, 2))


def test_an_array_is_counted_once_and_a_copy_of_the_cache_starts_empty() -> None:
    cache = PixelCache(limit=100)
    for _ in range(3):
        cache.keep("a", 0, np.zeros(40, np.uint8))
    assert cache.used == 40
    copy = pickle.loads(pickle.dumps(cache))
    assert (copy.limit, copy.used, copy.find("a", 0)) == (100, 0, None)


def test_the_recipe_unused_for_longest_gives_way() -> None:
    cache = PixelCache(limit=100)
    for recipe in ("a", "b", "a"):
        cache.keep(recipe, ord(recipe), np.zeros(40, np.uint8))
    cache.keep("c", 0, np.zeros(60, np.uint8))
    assert [cache.find(recipe, place) is not None for recipe, place in (("a", 97), ("b", 98), ("c", 0))] == [True, False, True]
    assert cache.used == 100


def test_recipes_share_a_key_exactly_when_they_give_the_same_pixels(plain) -> None:
    assert recipe_key(plain((8, 8))) == recipe_key(plain((8, 8))) != recipe_key(plain((8, 9)))
    assert recipe_key(plain(flip=True)) != recipe_key(plain())
