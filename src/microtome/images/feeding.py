"""Decoding ahead: threads that keep order, a cache with a limit, and batches made while the last one is worked on."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.hardware import core_count

Pixels = npt.NDArray[np.uint8]
MEMORY_LIMIT = 1_500_000_000  # bytes of decoded pixels kept by one set of images

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Framing(Protocol):
    """What is asked of an input recipe: the size (rows, cols), pixels and masks in its geometry, and its facts as JSON."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    def pixels(self, picture: Image.Image) -> Pixels: ...

    def bands(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]: ...

    def mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]: ...

    def json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class PixelBatch:
    """Consecutive images: their places (image,), pixels uint8 (image, row, col, rgb), and labels (image,) or None.

    `inputs` are what a recipe normalises: the pixels themselves, or float32 (image, row, col, channel) of images in bands.
    """

    index: npt.NDArray[np.int64]
    pixels: Pixels
    labels: npt.NDArray[np.int64] | None
    inputs: npt.NDArray[Any]


def thread_count() -> int:
    """How many threads decode: the cores this process may use, at most four, for the network wants the rest."""
    return min(4, core_count())


def map_in_threads(work: Callable[[Argument], Result], given: Sequence[Argument], most: int | None = None) -> Iterator[Result]:
    """`work` of each, in order, done by several threads, at most `most`; what has not begun when the caller stops is dropped."""
    several = min(most or thread_count(), thread_count())
    if len(given) < 2 or several == 1:
        yield from map(work, given)
        return
    pool = ThreadPoolExecutor(several, thread_name_prefix="microtome-decode")
    try:
        waiting: deque[Future[Result]] = deque()
        for item in given:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 8 * several:  # far enough ahead; the results of a million files need not be held at once
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def recipe_key(recipe: Framing) -> str:
    """The text that two recipes share exactly when they give the same pixels."""
    return json.dumps(recipe.json(), sort_keys=True, default=str)


class PixelCache:
    """Decoded arrays by recipe and place, up to a limit in bytes; the recipe unused for longest gives way first.

    Within one recipe what is in stays in: going round in order through more than fits would otherwise hit nothing at all.
    """

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self.limit = limit
        self.used = 0
        self._held: dict[str, dict[int, npt.NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelCache, (self.limit,)  # a copy in another process starts empty

    def find(self, recipe: str, place: int) -> npt.NDArray[Any] | None:
        """The array kept for that place, or None."""
        with self._lock:
            return self._held.get(recipe, {}).get(place)

    def keep(self, recipe: str, place: int, array: npt.NDArray[Any]) -> None:
        """Keep the array if there is room, or can be made by dropping other recipes."""
        with self._lock:
            mine = self._held.pop(recipe, {})
            self._held[recipe] = mine  # last in the order: used last
            while self.used + array.nbytes > self.limit and len(self._held) > 1:
                gone = self._held.pop(next(iter(self._held)))
                self.used -= sum(item.nbytes for item in gone.values())
            if place not in mine and self.used + array.nbytes <= self.limit:
                mine[place] = array
                self.used += array.nbytes


def prefetch(make: Callable[[Argument, threading.Event], Result], given: Iterable[Argument]) -> Iterator[Result]:
    """`make` of each, in order, the next being made in a thread while the caller works on the last.

    `make` is given an event that is set once nobody listens any more, so that it can stop in the middle.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="microtome-batch")
    waiting: Future[Result] | None = None
    try:
        for item in given:
            following = pool.submit(make, item, stop)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
