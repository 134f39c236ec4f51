"""Where images come from: files, arrays in memory, generated scenes; all asked in the same way, by their place."""

import hashlib
import inspect
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from microtome.errors import BadOption, ImagesError, UnknownName, did_you_mean
from microtome.images import decoding, reading, scenes
from microtome.images.bands import ARRAY_SUFFIXES, Values, check_bands, shown_bands
from microtome.images.decoding import Header
from microtome.images.masks import Mask, MaskFile
from microtome.images.shapes import Regions
from microtome.images.tiff_bands import SUFFIXES as TIFF_SUFFIXES

MASK_CACHE_SIZE = 64_000_000  # bytes for masks and facts of scenes that were drawn: 10,000 scenes of 224 px
BAND_SUFFIXES = (*ARRAY_SUFFIXES, *TIFF_SUFFIXES)
FACTS_BYTES = 1_000  # one scene's facts, about
SHARED_CACHE = 128 * 128  # pixels of a scene up to which threads that draw cost more in waiting for each other than they gain

_hashes: dict[tuple[str, int, int], str] = {}
_hashing = threading.Lock()


def content_hash(path: Path) -> str:
    """sha256 of a file's bytes, remembered in memory as long as its size and time of change stay.

    Raises:
        ImagesError: the file cannot be read any more.
    """
    try:
        facts = path.stat()
        known = (str(path.absolute()), facts.st_size, facts.st_mtime_ns)
        with _hashing:
            if known in _hashes:
                return _hashes[known]
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ImagesError(
            f"'{path}' was there when the folder was opened and cannot be read now ({error.strerror})."
        ) from error
    with _hashing:
        _hashes[known] = digest
    return digest


class Source(ABC):
    """Images by their place, with what is known of each."""

    kind: str
    most_threads: int | None = None  # that are worth having for its images; None for as many as there are
    channels: int | None = None  # of images that are numbers in bands; None for 8-bit RGB
    shown: tuple[int, ...] = ()  # the bands that figures show, counted from 1

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def name(self, place: int) -> str:
        """The image's name, the same on every machine."""

    @abstractmethod
    def picture(self, place: int, least: int | None = None) -> Image.Image:
        """The RGB image; `least` pixels of the short side suffice."""

    def values(self, place: int) -> Values:
        """The numbers float32 (row, col, channel) of an image in bands."""
        raise NotImplementedError(f"{type(self).__name__} holds 8-bit RGB images")  # asked only where `channels` is set

    @abstractmethod
    def mark_kind(self, place: int) -> str | None:
        """ "mask", "box" (a rectangle stands for the object), or None where nothing is marked."""

    @abstractmethod
    def mask(self, place: int) -> Mask | None:
        """The mask (row, col) of the image as displayed, or None."""

    @abstractmethod
    def identity(self, place: int) -> str:
        """A text that changes whenever the image's content or its mask does."""

    @abstractmethod
    def facts(self, place: int) -> dict[str, float]:
        """What is known of the image in numbers, without its pixels where they are not needed."""


class FileSource(Source):
    """Image files below a root, with the mask file or the marked regions of each."""

    def __init__(
        self,
        kind: str,
        root: Path,
        names: list[str],
        marks: list[MaskFile | Regions | None],
        headers: list[Header | None],
        chosen: Sequence[int] | None = None,
        shown: Sequence[int] | None = None,
    ):
        """`chosen` are the bands that are read, counted from 1; `shown` those of them that figures show, counted so too."""
        self.kind = kind
        self.root = root
        self._names = names
        self._marks = marks
        self._headers = headers
        bands = self.header(0).bands if names and Path(names[0]).suffix.lower() in BAND_SUFFIXES else 0
        if (chosen is not None or shown is not None) and not bands:
            raise BadOption(f"bands are those of .npy, .npz and multi-band TIFF files; '{names[0]}' is an ordinary image.")
        self._chosen = None if chosen is None else check_bands("bands", chosen, bands)
        if bands:
            self.channels = len(self._chosen) if self._chosen is not None else bands
            self.shown = shown_bands(self.channels, shown)

    def __len__(self) -> int:
        return len(self._names)

    def path(self, place: int) -> Path:
        """The file itself."""
        return self.root / self._names[place]

    def name(self, place: int) -> str:
        return self._names[place].encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def header(self, place: int) -> Header:
        """The header of the file, read once."""
        header = self._headers[place]
        if header is None:
            with _BlamedFile(self, place):
                header = self._headers[place] = reading.read_any_header(self.path(place))
        return header

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        with _BlamedFile(self, place):
            if self.channels is None:
                return decoding.read_rgb(self.path(place), least)
            return reading.read_shown(self.path(place), self._chosen, self.shown)

    def values(self, place: int) -> Values:
        with _BlamedFile(self, place):
            return reading.read_values(self.path(place), self._chosen)

    def mark_kind(self, place: int) -> str | None:
        mark = self._marks[place]
        if isinstance(mark, Regions):
            return "box" if mark.boxes else "mask"
        return "mask" if mark else None

    def mask(self, place: int) -> Mask | None:
        mark = self._marks[place]
        if mark is None:
            return None
        header = self.header(place)
        with _BlamedFile(self, place):
            return mark.mask(header)

    def identity(self, place: int) -> str:
        content = content_hash(self.path(place))
        if self.channels is not None:
            content += f" bands {self._chosen or 'all'} shown {self.shown}"
        mark = self._marks[place]
        if isinstance(mark, MaskFile):
            return f"{content} mask {content_hash(mark.path)} {sorted(mark.ids) if mark.ids is not None else 'all but void'}"
        return f"{content} {mark}" if mark else content

    def facts(self, place: int) -> dict[str, float]:
        rows, cols = self.header(place).size
        mark = self._marks[place]
        counted = {"objects": float(mark.objects)} if isinstance(mark, Regions) else {}
        return {"rows": float(rows), "cols": float(cols), **counted}


class _BlamedFile:
    """Turns the bare reason of a failed reading into a sentence that names the file and what to do."""

    def __init__(self, files: FileSource, place: int) -> None:
        self.files, self.place = files, place

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, ImagesError):
            root = self.files.root
            raise ImagesError(
                f"'{self.files.path(self.place)}' cannot be read: {error}; open it again with "
                f"Images.folder('{root}', check='full') to leave out all such files."
            ) from error


class _CachedMask(NamedTuple):
    """What is remembered of a scene that was drawn: eight pixels of its mask a byte, (rows, cols), and its facts."""

    mask: npt.NDArray[np.uint8]
    size: tuple[int, int]
    facts: dict[str, float]

    @classmethod
    def of(cls, drawn: scenes.Scene) -> "_CachedMask":
        rows, cols = drawn.mask.shape
        return cls(np.packbits(drawn.mask), (rows, cols), drawn.facts)


class SceneSource(Source):
    """Generated scenes 0 … count - 1 of one seed, drawn when they are asked for."""

    kind = "scenes"

    def __init__(self, count: int, seed: int, size: int | tuple[int, int], controls: scenes.Controls) -> None:
        self.count, self.seed, self.size, self.controls = count, seed, size, controls
        self.most_threads = 1 if int(np.prod(np.broadcast_to(size, 2))) <= SHARED_CACHE else None
        self._known: dict[int, _CachedMask] = {}

    def __len__(self) -> int:
        return self.count

    def name(self, place: int) -> str:
        return f"scene-{place:0{len(str(self.count - 1))}d}"

    def scene(self, place: int) -> scenes.Scene:
        """The scene itself; the last few are remembered, for image, mask and facts are asked one after the other."""
        drawn = _draw_scene(place, self.seed, self.size, self.controls)
        if place not in self._known and len(self._known) * (drawn.mask.size // 8 + FACTS_BYTES) < MASK_CACHE_SIZE:
            self._known[place] = _CachedMask.of(drawn)
        return drawn

    def _cached_scene(self, place: int) -> "_CachedMask":
        """Mask and facts of a scene; drawn again only where there was no room to remember them."""
        return self._known.get(place) or _CachedMask.of(self.scene(place))

    def labels(self) -> npt.NDArray[np.int64]:
        """The class of each scene: classes take turns."""
        turns = [scenes.CLASSES.index(name) for name in self.controls.classes]
        return np.resize(np.array(turns, np.int64), self.count)

    def picture(self, place: int, least: int | None = None) -> Image.Image:
        return Image.fromarray(self.scene(place).pixels)

    def mark_kind(self, place: int) -> str | None:
        return "mask"

    def mask(self, place: int) -> Mask | None:
        scene = self._cached_scene(place)
        rows, cols = scene.size
        return np.unpackbits(scene.mask, count=rows * cols).reshape(rows, cols).view(bool)

    def identity(self, place: int) -> str:
        return json.dumps(["scene", _generator_hash(), self.seed, self.size, repr(self.controls), place])

    def facts(self, place: int) -> dict[str, float]:
        scene = self._cached_scene(place)
        return {"rows": float(scene.size[0]), "cols": float(scene.size[1]), "objects": 1.0, **scene.facts}


@lru_cache(maxsize=128)
def _draw_scene(place: int, seed: int, size: int | tuple[int, int], controls: scenes.Controls) -> scenes.Scene:
    return scenes.scene(place, seed=seed, size=size, controls=controls)


@lru_cache(maxsize=1)
def _generator_hash() -> str:
    """The hash of the generator's own source: a generator that draws differently can never pass for the old one."""
    return hashlib.sha256(inspect.getsource(scenes).encode()).hexdigest()


def scene_source(count: int, seed: int, size: int | tuple[int, int], controls: dict[str, Any]) -> SceneSource:
    """Generated scenes with their controls checked.

    Raises:
        BadOption: the count is below one, or a control outside its range.
        UnknownName: there is no such control.
    """
    if isinstance(count, bool) or int(count) != count or count < 1:
        raise BadOption(f"count is {count!r}; give a whole number of scenes from 1 on, such as Images.scenes(100).")
    names = scenes.Controls.__dataclass_fields__
    for name in controls:
        if name not in names:
            raise UnknownName(f"Scenes have no control '{name}'." + did_you_mean(name, names))
    frozen = {name: tuple(value) if isinstance(value, list) else value for name, value in controls.items()}
    source = SceneSource(int(count), seed, size if isinstance(size, int) else (size[0], size[1]), scenes.Controls(**frozen))
    source.scene(0)  # a size or seed that cannot be drawn is refused here, not at the first batch
    return source
