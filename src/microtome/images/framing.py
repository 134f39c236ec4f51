"""Images in the geometry of a recipe: pixels, bands and masks, each kept in the cache of its set; decoded by several threads."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microtome.images.feeding import Framing, PixelCache, Pixels, map_in_threads, recipe_key
from microtome.images.masks import Mask
from microtome.images.sources import Source


def frame_pixels(source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int], stop: threading.Event) -> Pixels:
    """Pixels uint8 (image, row, col, rgb) of the images at those places of the source; zeros for those left when `stop` is set."""
    which = recipe_key(recipe)
    least = -(-2 * max(recipe.size) // float(getattr(recipe, "crop", 0.5)))

    def load(place: int) -> Pixels:
        cached = cache.find(which, place)
        if cached is None and not stop.is_set():
            cached = np.asarray(recipe.pixels(source.picture(place, int(least))), np.uint8)
            cache.keep(which, place, cached)
        return np.zeros((*recipe.size, 3), np.uint8) if cached is None else cached

    batch_pixels = np.empty((len(places), *recipe.size, 3), np.uint8)
    for at, pixels in enumerate(map_in_threads(load, places, source.most_threads)):
        batch_pixels[at] = pixels
    return batch_pixels


def frame_bands(
    source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int], stop: threading.Event
) -> npt.NDArray[Any]:
    """Numbers float32 (image, row, col, channel) of images in bands; one band is repeated for a recipe of three channels."""
    which, depth = recipe_key(recipe) + " bands", source.channels or 3

    def load(place: int) -> npt.NDArray[Any]:
        cached = cache.find(which, place)
        if cached is None and not stop.is_set():
            cached = np.asarray(recipe.bands(source.values(place)), np.float32)
            cache.keep(which, place, cached)
        return np.zeros((*recipe.size, depth), np.float32) if cached is None else cached

    numbers = np.empty((len(places), *recipe.size, depth), np.float32)
    for at, values in enumerate(map_in_threads(load, places, source.most_threads)):
        numbers[at] = values
    return np.repeat(numbers, 3, axis=3) if depth == 1 and recipe.channels == 3 else numbers


def frame_masks(source: Source, cache: PixelCache, recipe: Framing, places: Sequence[int]) -> Mask:
    """Masks bool (image, row, col); all False for an image without one."""
    which = recipe_key(recipe) + " masks"

    def load(place: int) -> Mask:
        cached = cache.find(which, place)
        if cached is None:
            mask = source.mask(place)
            cached = np.zeros(recipe.size, bool) if mask is None else np.asarray(recipe.mask(mask), bool)
            cache.keep(which, place, cached)
        return cached

    masks = np.zeros((len(places), *recipe.size), bool)
    for at, mask in enumerate(map_in_threads(load, places, source.most_threads)):
        masks[at] = mask
    return masks
