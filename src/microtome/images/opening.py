"""From a path to images that can be trusted: listed, labelled, matched with masks and boxes, and checked.

The check has three depths. "full" decodes every file and mask, so that no run ends on a broken file; it is the default up to
`MAX_FULL_FILES` files and `MAX_FULL_BYTES` bytes (about 2 ms for a photograph of 500 × 375, 50 ms for one of 24 megapixels, per core).
"header" reads only what files say of themselves (0.2 ms), the default beyond. "none" believes the names.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microtome.errors import BadOption, ImagesError, did_you_mean
from microtome.images import reading
from microtome.images.bands import describe_shown
from microtome.images.boxes import read_regions
from microtome.images.decoding import Header
from microtome.images.feeding import map_in_threads
from microtome.images.labels import ImageLabels, read_labels
from microtome.images.listing import Listing, SkippedFile, list_images, name_key
from microtome.images.masks import MaskFile, find_mask_files
from microtome.images.shapes import Regions
from microtome.images.sources import FileSource

CHECK_DEPTHS = ("auto", "full", "header", "none")
MAX_FULL_FILES = 2_000
MAX_FULL_BYTES = 1_000_000_000

_verdict_cache: dict[tuple[str, int, int, str], Header | str] = {}
_verdict_lock = threading.Lock()


@dataclass(frozen=True)
class OpenedImages:
    """The images of a path that can be used, their labels, what was skipped, and what is worth a note."""

    files: FileSource
    labels: ImageLabels | None
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]


def open_images(
    path: str | Path,
    *,
    labels: str,
    masks: str,
    boxes: str,
    limit: int | None,
    seed: int,
    check: str,
    bands: Sequence[int] | None = None,
    shown: Sequence[int] | None = None,
) -> OpenedImages:
    """The usable images at a path, at most `limit` of them, drawn evenly from the classes; of bands those of `bands`.

    Raises:
        ImagesError: nothing usable is there, or a table, mask folder or annotation that was asked for is not.
        BadOption: an option outside its range.
    """
    if check not in CHECK_DEPTHS:
        raise BadOption(f"check is '{check}'; give one of {', '.join(CHECK_DEPTHS)}." + did_you_mean(check, CHECK_DEPTHS))
    place = list_images(path, labels=labels, masks=masks)
    known = read_labels(place, labels)
    from_files = find_mask_files(place, masks)
    from_regions = read_regions(place, boxes)
    marks = [mask or other for mask, other in zip(from_files, from_regions, strict=True)]
    order = spread_order(known.values if known else None, len(place.names), limit, seed)
    depth = _check_depth(place, order[: limit or len(order)], check)
    headers, broken = _check_headers(place, marks, order, limit, depth)
    headers, others = _of_one_depth(headers, place)
    broken += others
    kept = sorted(headers)
    if not kept:
        first = broken[0]
        raise ImagesError(
            f"None of the {len(broken)} images at '{path}' can be read; the first is {first.path}: {first.reason}."
        )
    files = FileSource(
        place.kind,
        place.root,
        [place.names[at] for at in kept],
        [marks[at] for at in kept],
        [headers[at] for at in kept],
        bands,
        shown,
    )
    chosen = ImageLabels(known.classes, known.values[kept], known.titles, known.origin) if known else None
    skipped = tuple(sorted((*place.skipped, *broken), key=lambda file: name_key(file.path)))
    notes = _header_notes([headers[at] for at in kept])
    if files.channels is not None:
        notes += (describe_shown(files.channels, files.shown),)
    return OpenedImages(files, chosen, skipped, notes)


def _of_one_depth(headers: dict[int, Header | None], place: Listing) -> tuple[dict[int, Header | None], list[SkippedFile]]:
    """The images with the commonest number of bands (0: colours; of equally common ones the first), and the others with the reason."""
    counted = Counter(header.bands if header else 0 for _, header in sorted(headers.items()))
    if len(counted) < 2:
        return headers, []
    common = counted.most_common(1)[0][0]
    word = {0: "ordinary images", 1: "arrays of one channel"}
    kept = {at: header for at, header in headers.items() if (header.bands if header else 0) == common}
    others = [
        SkippedFile(
            place.names[at],
            f"{word.get(bands, f'{bands} channels')}, where most files here are {word.get(common, f'of {common} channels')}",
        )
        for at, header in sorted(headers.items())
        if (bands := header.bands if header else 0) != common
    ]
    return kept, others


def spread_order(labels: npt.NDArray[np.int64] | None, count: int, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """All places 0 … count - 1 in an order whose every beginning holds the classes in proportion; as they are without a limit.

    Raises:
        BadOption: the limit is not a whole number from 1 on.
    """
    if limit is None:
        return np.arange(count)
    if isinstance(limit, bool) or int(limit) != limit or limit < 1:
        raise BadOption(f"limit is {limit!r}; give a whole number of images from 1 on, or None for all.")
    draws = np.random.default_rng(seed)
    groups = np.zeros(count, np.int64) if labels is None else labels
    rank = np.empty(count, float)
    for group in np.unique(groups):
        inside = np.flatnonzero(groups == group)
        rank[draws.permutation(inside)] = (np.arange(len(inside)) + draws.random()) / len(inside)
    return np.argsort(rank, kind="stable")


def _check_depth(place: Listing, order: npt.NDArray[np.int64], check: str) -> str:
    if check != "auto":
        return check
    if len(order) > MAX_FULL_FILES:
        return "header"
    total = 0
    for at in order:
        try:
            total += (place.root / place.names[at]).stat().st_size
        except OSError:
            continue  # the check itself will say what is wrong with it
    return "full" if total <= MAX_FULL_BYTES else "header"


def _check_headers(
    place: Listing, marks: Sequence[MaskFile | Regions | None], order: npt.NDArray[np.int64], limit: int | None, depth: str
) -> tuple[dict[int, Header | None], list[SkippedFile]]:
    """Headers of the images that stand the check, by place, and the others with their reasons.

    With a limit, those next in order stand in for the broken ones: as many are looked at as it takes.
    """
    headers: dict[int, Header | None] = {}
    broken: list[SkippedFile] = []
    wanted = min(limit or len(order), len(order))
    begun = 0
    while len(headers) < wanted and begun < len(order):
        these = [int(at) for at in order[begun : begun + wanted - len(headers)]]
        begun += len(these)
        for at, verdict in zip(
            these, map_in_threads(lambda at: _check_file(place.root / place.names[at], marks[at], depth), these), strict=True
        ):
            if isinstance(verdict, str):
                broken.append(SkippedFile(place.names[at], verdict))
            else:
                headers[at] = verdict
    broken.sort(key=lambda file: name_key(file.path))
    return headers, broken


def _check_file(path: Path, mark: MaskFile | Regions | None, depth: str) -> Header | str | None:
    """The header of an image that stands the check, else the reason why not; None where nothing is checked."""
    if depth == "none":
        return None
    verdict = _cached_verdict(path, depth)
    if isinstance(verdict, str) or mark is None:
        return verdict
    try:
        if depth == "full":
            mark.mask(verdict)
        elif isinstance(mark, MaskFile):
            mark.fits(verdict)
    except ImagesError as error:
        return str(error)
    return verdict


def _cached_verdict(path: Path, depth: str) -> Header | str:
    """The verdict on one file, from memory as long as its size and time of change stay."""
    try:
        facts = path.stat()
    except OSError as error:
        return f"not reachable: {error.strerror}"
    known = (str(path.absolute()), facts.st_size, facts.st_mtime_ns, depth)
    with _verdict_lock:
        if known in _verdict_cache:
            return _verdict_cache[known]
    try:
        verdict: Header | str = reading.read_any_header(path)
        if depth == "full":
            reading.verify_any(path, verdict)
    except ImagesError as error:
        verdict = str(error)
    with _verdict_lock:
        _verdict_cache[known] = verdict
    return verdict


def _header_notes(headers: Sequence[Header | None]) -> tuple[str, ...]:
    """What is worth knowing of the images, with how many it holds for."""
    counted = Counter(note for header in headers if header for note in header.notes)
    return tuple(f"{count} of {len(headers)} images are {note}" for note, count in sorted(counted.items()))
