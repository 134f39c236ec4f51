"""Images in the geometry of a recipe: pixels, bands and masks, each kept in the cache of its set; decoded by several threads."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.images.feeding import Framing, PixelCache, Pixels, map_in_threads, recipe_key
from microtome.images.masks import Mask
from microtome.images.sources import Source


def frame_pixels(source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int], stop: threading.Event) -> Pixels:
    """Pixels uint8 (image, row, col, rgb) of the images at those places of the source; zeros for those left when `stop` is set."""
    least = -(-2 * max(recipe.size) // float(getattr(recipe, "crop", 0.5)))
    blank = np.zeros((*recipe.size, 3), np.uint8)
    return _frame(
        source,
        cache,
        recipe_key(recipe),
        places,
        blank,
        lambda place: np.asarray(recipe.pixels(source.picture(place, int(least))), np.uint8),
        stop,
    )


def frame_bands(
    source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int], stop: threading.Event
) -> npt.NDArray[Any]:
    """Numbers float32 (image, row, col, channel) of images in bands; one band is repeated for a recipe of three channels."""
    blank = np.zeros((*recipe.size, source.channels or 3), np.float32)
    numbers = _frame(
        source,
        cache,
        recipe_key(recipe) + " bands",
        places,
        blank,
        lambda place: np.asarray(recipe.bands(source.values(place)), np.float32),
        stop,
    )
    return np.repeat(numbers, 3, axis=3) if source.channels == 1 and recipe.channels == 3 else numbers


def frame_masks(source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int]) -> Mask:
    """Masks bool (image, row, col); all False for an image without one."""
    blank = np.zeros(recipe.size, bool)

    def load(place: int) -> Mask:
        mask = source.mask(place)
        return blank if mask is None else np.asarray(recipe.mask(mask), bool)

    return _frame(source, cache, recipe_key(recipe) + " masks", places, blank, load)


def _frame(
    source: Source,
    cache: PixelCache,
    which: str,
    places: Sequence[int],
    blank: npt.NDArray[Any],
    load: Callable[[int], npt.NDArray[Any]],
    stop: threading.Event | None = None,
) -> npt.NDArray[Any]:
    """What `load` gives for each place, kept in the cache under `which`; `blank` for those left when `stop` is set."""

    def find(place: int) -> npt.NDArray[Any]:
        cached = cache.find(which, place)
        if cached is None and (stop is None or not stop.is_set()):
            cached = load(place)
            cache.keep(which, place, cached)
        return blank if cached is None else cached

    framed = np.empty((len(places), *blank.shape), blank.dtype)
    for at, values in enumerate(map_in_threads(find, places, source.most_threads)):
        framed[at] = values
    return framed
