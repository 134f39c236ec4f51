"""Images: an ordered, countable set of images with what is known of them; the same order and the same digest every time."""

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import BadOption, ImagesError
from microtome.images.arrays import array_source, check_labels
from microtome.images.bands import describe_shown
from microtome.images.channel_fit import channel_misfit
from microtome.images.feeding import (
    Framing,
    PixelBatch,
    PixelCache,
    Pixels,
    map_in_threads,
    prefetch,
)
from microtome.images.framing import frame_bands, frame_masks, frame_pixels
from microtome.images.indices import Places, resolve_indices
from microtome.images.labels import WORDNET
from microtome.images.listing import SkippedFile
from microtome.images.masks import Mask
from microtome.images.opening import open_images, spread_order
from microtome.images.scenes import CLASSES
from microtome.images.sources import Source, scene_source
from microtome.prose import capitalise


@dataclass(frozen=True)
class Item:
    """One image (RGB, as displayed), its name, its label or None, and its mask (row, col) or None.

    `mask_kind` is "mask", or "box" where a rectangle stands for the object; `facts` are numbers known of it: rows, cols,
    objects, area (fraction of the image inside the mask), and for scenes their controls.
    """

    name: str
    picture: Image.Image
    label: int | None
    mask: Mask | None
    facts: dict[str, float]
    mask_kind: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Images:
    """An ordered set of images. Made by `folder`, `tensors`, `scenes` or `one`, narrowed by `take` and `limit`."""

    name: str
    source: Source
    places: npt.NDArray[np.int64]  # (image,) into the source
    classes: tuple[str, ...] | None = None
    labels: npt.NDArray[np.int64] | None = None  # (image,), -1 unknown
    titles: tuple[str, ...] | None = None  # readable names of the classes
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    options: Mapping[str, Any]
    cache: PixelCache

    @classmethod
    def folder(
        cls,
        path: str | os.PathLike[str],
        *,
        labels: str = "auto",
        masks: str = "auto",
        boxes: str = "auto",
        limit: int | None = None,
        seed: int = 0,
        check: str = "auto",
        bands: Sequence[int] | None = None,
        shown: Sequence[int] | None = None,
    ) -> "Images":
        """The images of a folder (or a glob, or one file), sorted by their path below it.

        `labels`: "auto" (a labels.csv/.tsv/.json, class folders, WordNet ids before file names), "none", or a table's path.
        `masks`: "auto" (NAME_mask.png beside, a masks/ or label/ folder), "none", or a folder, with class numbers after a colon
        for label maps ("label:8,9"). `boxes`: "auto" (COCO JSON, VOC XML, a table), "none", or a path. `limit`: at most so
        many, evenly from the classes, drawn by `seed`. `check`: "full" decodes every file now, "header" only looks at it,
        "none" does neither. `bands`: of images in bands (.npy, .npz, multi-band TIFF) those that networks get, in this order,
        counted from 1; `shown`: of these the three, or the one, that figures show.

        Raises:
            ImagesError: nothing usable is there, or a table, mask folder or annotation asked for is not.
            BadOption: an option outside its range.
        """
        given = {"labels": str(labels), "masks": str(masks), "boxes": str(boxes)}
        images = open_images(Path(path) if not isinstance(path, str) else path, **given, limit=limit, seed=seed, check=check,
            bands=bands, shown=shown,
        )  # fmt: skip
        text = os.fspath(path)
        chosen = {name: list(value) for name, value in (("bands", bands), ("shown", shown)) if value is not None}
        return cls(
            name=Path(text).expanduser().absolute().name or text,
            source=images.files,
            places=np.arange(len(images.files)),
            classes=images.labels.classes if images.labels else None,
            labels=images.labels.values if images.labels else None,
            titles=images.labels.titles if images.labels else None,
            skipped=images.skipped,
            notes=images.notes,
            options={"path": str(Path(text).expanduser().absolute()), **given, "limit": limit, "seed": seed, **chosen},
            cache=PixelCache(),
        )

    @classmethod
    def one(cls, path: str | os.PathLike[str]) -> "Images":
        """A single image file.

        Raises:
            ImagesError: the file is not there or cannot be read.
        """
        if Path(path).is_dir():
            raise ImagesError(f"'{os.fspath(path)}' is a folder; use Images.folder('{os.fspath(path)}').")
        return cls.folder(path, check="full")

    @classmethod
    def tensors(
        cls,
        x: Any,
        labels: Any = None,
        classes: Sequence[str] | None = None,
        masks: Any = None,
        shown: Sequence[int] | None = None,
    ) -> "Images":
        """Images in memory: floats 0..1 (image, 3 | 1, row, col), kept at 8 bits, or uint8 so or (image, row, col, 3).

        Of another number of channels: (image, channel, row, col), uint8 (divided by 255), uint16 (by 65535) or numbers that stay as
        they are; `shown` are the three bands, or the one, that figures show, counted from 1.

        `labels`: (image,) whole numbers, -1 unknown. `classes`: a name for each number. `masks`: (image, row, col), non-zero:
        object.

        Raises:
            ImagesError: other shapes, values that are not finite or outside the range, labels or masks that do not fit.
        """
        source = array_source(x, masks, shown)
        values, names = check_labels(len(source), labels, classes)
        return cls(
            name="tensors",
            source=source,
            places=np.arange(len(source)),
            labels=values,
            classes=names,
            notes=() if source.channels is None else (describe_shown(source.channels, source.shown),),
            options={},
            cache=PixelCache(),
        )

    @classmethod
    def scenes(cls, count: int, seed: int = 0, size: int | tuple[int, int] = 64, **controls: Any) -> "Images":
        """Generated scenes: one object each, with its exact mask and known difficulty; drawn when asked for.

        `size`: px, or (rows, cols). `controls`: ranges such as area=(0.1, 0.2), clutter=(0, 0); see `scenes.Controls`.

        Raises:
            BadOption: a count, size or control outside its range.
            UnknownName: there is no such control.
        """
        source = scene_source(count, seed, size, controls)
        options = {"count": len(source), "seed": seed, "size": size, **controls}
        return cls(
            name=f"scenes-{seed}",
            source=source,
            places=np.arange(len(source)),
            labels=source.labels(),
            classes=CLASSES,
            options=options,
            cache=PixelCache(),
        )

    def __len__(self) -> int:
        return len(self.places)

    def __repr__(self) -> str:
        return f"<Images {self.describe()}>"

    def __iter__(self) -> Iterator[Item]:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, at: int) -> Item:
        """The image at that place, in full size."""
        place = int(self.places[at])
        label = None if self.labels is None or self.labels[at] < 0 else int(self.labels[at])
        mask = self.source.mask(place)
        facts = self.source.facts(place)
        if mask is not None:
            facts.setdefault("area", float(mask.mean()))
        kind = self.source.mark_kind(place)
        return Item(self.source.name(place), self.source.picture(place), label, mask, facts, kind)

    @property
    def kind(self) -> str:
        """Where the images come from: folder, glob, file, tensors or scenes."""
        return self.source.kind

    @property
    def names(self) -> tuple[str, ...]:
        """The images' names, in order."""
        return tuple(self.source.name(int(place)) for place in self.places)

    @property
    def has_mask(self) -> npt.NDArray[np.bool_]:
        """Which images (image,) have a mask or a box."""
        return np.array([self.source.mark_kind(int(place)) is not None for place in self.places], bool)

    @property
    def has_masks(self) -> bool:
        """Whether any image has a mask or a box."""
        return any(self.source.mark_kind(int(place)) for place in self.places)

    @property
    def mask_kind(self) -> str | None:
        """ "mask", "box" (rectangles stand for objects), "mixed", or None."""
        kinds = {self.source.mark_kind(int(place)) for place in self.places} - {None}
        return None if not kinds else "mixed" if len(kinds) > 1 else kinds.pop()

    @property
    def classes_are_wordnet(self) -> bool:
        """Whether the classes are WordNet ids (n01440764), as ImageNet's are."""
        return bool(self.classes) and all(WORDNET.fullmatch(name) for name in self.classes or ())

    def digest(self) -> str:
        """sha256 over names, contents, labels and masks in order: the same on every machine, wherever the folder lies."""
        return self._digest

    def content_order(self) -> npt.NDArray[np.int64]:
        """All places, int64 (image,), shuffled in a way that rests on what the images hold, not on their names or order."""
        return self._content_order

    def sample(self, count: int) -> npt.NDArray[np.int64]:
        """At most `count` places, int64, ascending: of each class in proportion, chosen by `content_order`."""
        order = self._content_order
        classes = np.zeros(len(self), dtype=np.int64) if self.labels is None else self.labels[order]
        quantile = np.empty(len(self))
        for label in np.unique(classes):
            own = np.flatnonzero(classes == label)
            quantile[own] = (np.arange(len(own)) + 0.5) / len(own)
        return np.sort(order[np.argsort(quantile, kind="stable")[:count]])

    def take(self, indices: Places) -> "Images":
        """The images at those places, in that order; a bool array (image,) chooses where it is true.

        Raises:
            BadOption: a place that does not exist, or none at all.
        """
        chosen = resolve_indices(indices, len(self))
        if len(chosen) == 0:
            raise BadOption("take was given no place; name at least one image.")
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, places=self.places[chosen], labels=labels, options={**self.options, "taken": chosen.tolist()})

    def limit(self, count: int | None, seed: int = 0) -> "Images":
        """At most `count` images, evenly from the classes, drawn by `seed`, in their old order; all of them for None."""
        if count is None or count >= len(self):
            return self
        return self.take(np.sort(spread_order(self.labels, len(self), count, seed)[:count]))

    def facts(self, name: str) -> npt.NDArray[np.float64] | None:
        """One number for each image (image,), NaN where it is unknown; None where no image has it. See `Item.facts`."""
        facts = [self._fact(int(place), name) for place in self.places]
        return (
            None if all(value is None for value in facts) else np.array([np.nan if value is None else value for value in facts])
        )

    def pixels(self, recipe: Framing, indices: Places | None = None) -> Pixels:
        """Pixels uint8 (image, row, col, rgb) as a network with that recipe sees them; kept in memory up to the cache's limit.

        Raises:
            ImagesError: a file that passed the check cannot be read now.
            BadOption: a place that does not exist.
        """
        return frame_pixels(
            self.source, self.cache, recipe, self._places(resolve_indices(indices, len(self))), threading.Event()
        )

    @property
    def channels(self) -> int:
        """How many channels the images have: 3 for RGB images, grey ones among them; of images in bands as many as are read."""
        return self.source.channels or 3

    def misfit(self, channels: int) -> str:
        """Why a network with so many input channels cannot be given these images, and what would do; empty where it can.

        One channel and three go together: grey is repeated, colours become luminance.
        """
        return channel_misfit(self.name, self.kind, self.channels, channels)

    def inputs(self, recipe: Framing, indices: Places | None = None) -> npt.NDArray[Any]:
        """What `recipe.normalise` takes: `pixels`, or of images in bands their numbers float32 (image, row, col, channel).

        Raises:
            ImagesError: a file cannot be read now, or the recipe asks for another number of channels (`misfit`).
            BadOption: a place that does not exist.
        """
        return self._inputs(recipe, resolve_indices(indices, len(self)), threading.Event())

    def masks(self, recipe: Framing, indices: Places | None = None) -> Mask:
        """Masks bool (image, row, col) in the recipe's geometry; all False for an image without one (see `masked`).

        Raises:
            ImagesError: no image has a mask or box, or a mask that passed the check cannot be read now.
        """
        if not self.has_masks:
            raise ImagesError(
                f"'{self.name}' has no masks or boxes; put NAME_mask.png beside each, or use Images.scenes({len(self)})."
            )
        return frame_masks(self.source, self.cache, recipe, self._places(resolve_indices(indices, len(self))))

    def batches(self, recipe: Framing, size: int, start: int = 0, shard: tuple[int, int] = (0, 1)) -> Iterator[PixelBatch]:
        """Batches of `size` consecutive images from place `start` on, the next decoded while the last is worked on.

        `shard=(i, n)`: only every n-th batch, counted from place 0 and beginning with the i-th. Stopping early stops the
        decoding.

        Raises:
            BadOption: a size below one, or a negative start.
            ImagesError: a file that passed the check cannot be read now.
        """
        if size < 1 or start < 0:
            raise BadOption(f"batches of {size} from {start} do not exist; the size starts at 1, the start at 0.")
        spans = [
            np.arange(at, min(at + size, len(self)))
            for at in range(start, len(self), size)
            if at // size % shard[1] == shard[0]
        ]

        def made(index: npt.NDArray[np.int64], stop: threading.Event) -> PixelBatch:
            labels = None if self.labels is None else self.labels[index]
            pixels = frame_pixels(self.source, self.cache, recipe, self._places(index), stop)
            plain = self.source.channels is None and recipe.channels in (1, 3)
            return PixelBatch(index, pixels, labels, pixels if plain else self._inputs(recipe, index, stop))

        return prefetch(made, spans)

    def describe(self) -> str:
        """One line: how many images, of how many classes, with what masks, how many skipped."""
        parts = [f"{self.name}: {len(self)} image" + "s" * (len(self) != 1)]
        if self.classes is not None and self.labels is not None:
            present = len(np.unique(self.labels[self.labels >= 0]))
            parts.append(f"{present} class" + "es" * (present != 1))
            if unknown := int((self.labels < 0).sum()):
                parts.append(f"{unknown} unlabelled")
        if masked := int(self.has_mask.sum()):
            word = {"mask": "masks", "box": "boxes"}.get(str(self.mask_kind), "masks or boxes")
            parts.append(f"{word} for {'all' if masked == len(self) else masked}")
        if self.skipped:
            parts.append(f"{len(self.skipped)} skipped ({self.skipped[0].path}: {self.skipped[0].reason})")
        return ", ".join(parts)

    def json(self) -> dict[str, Any]:
        """The set's facts as plain JSON values, for a finding's origin; the first hundred of the skipped by name."""
        return {
            "name": self.name,
            "kind": self.kind,
            "count": len(self),
            "digest": self.digest(),
            "classes": list(self.classes) if self.classes is not None else None,
            "has_masks": self.has_masks,
            "mask_kind": self.mask_kind,
            "channels": self.channels,
            "shown_bands": list(self.source.shown),
            "skipped": [{"path": file.path, "reason": file.reason} for file in self.skipped[:100]],
            "skipped_count": len(self.skipped),
            "notes": list(self.notes),
            "options": json.loads(json.dumps(dict(self.options), default=str)),
        }

    def _inputs(self, recipe: Framing, index: npt.NDArray[np.int64], stop: threading.Event) -> npt.NDArray[Any]:
        if reason := self.misfit(recipe.channels):
            raise ImagesError(f"{capitalise(reason)}.")
        frame = frame_pixels if self.source.channels is None else frame_bands
        return frame(self.source, self.cache, recipe, self._places(index), stop)

    def _places(self, index: npt.NDArray[np.int64]) -> list[int]:
        """Places in the source of the images at those places of this set."""
        return [int(place) for place in self.places[index]]

    @cached_property
    def _identities(self) -> tuple[str, ...]:
        return tuple(map_in_threads(self.source.identity, [int(place) for place in self.places], self.source.most_threads))

    @cached_property
    def _content_order(self) -> npt.NDArray[np.int64]:
        keys = [hashlib.sha256(identity.encode()).digest() for identity in self._identities]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)

    @cached_property
    def _digest(self) -> str:
        total = hashlib.sha256(json.dumps(["images", 1, self.classes]).encode())
        for at, identity in enumerate(self._identities):
            label = None if self.labels is None else int(self.labels[at])
            total.update(json.dumps([self.source.name(int(self.places[at])), identity, label]).encode())
        return total.hexdigest()

    def _fact(self, place: int, name: str) -> float | None:
        facts = self.source.facts(place)
        if name == "area" and name not in facts and (mask := self.source.mask(place)) is not None:
            return float(mask.mean())
        return facts.get(name)
