"""Which class each image is of: by its folder, by a WordNet id in its file name, or by a table beside it."""

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from microtome.errors import ImagesError, UnknownName, did_you_mean
from microtome.images.listing import Listing, name_key, top_folders

WORDNET = re.compile(r"n\d{8}")
TABLES = ("labels.csv", "labels.tsv", "labels.json", "annotations.tsv", "val_annotations.txt")
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_path", "img", "id", "name")
LABEL_COLUMNS = ("wnid", "synset", "label", "class", "category", "class_name", "target", "index")
LARGEST_NUMBER = 100_000


@dataclass(frozen=True)
class ImageLabels:
    """Class names, a number for each image (-1: unknown), readable names of the classes where known, and whence."""

    classes: tuple[str, ...]
    values: npt.NDArray[np.int64]
    titles: tuple[str, ...] | None = None
    origin: str = ""

    @property
    def wordnet(self) -> bool:
        """Whether the classes are WordNet ids (n01440764), as ImageNet's are."""
        return bool(self.classes) and all(WORDNET.fullmatch(name) for name in self.classes)


def read_labels(place: Listing, wanted: str) -> ImageLabels | None:
    """The labels of the listed images, or None where they have none.

    `wanted`: "auto" (a table, else class folders, else WordNet prefixes), "none", or the path of a table.

    Raises:
        ImagesError: the table cannot be read, or names none of the images.
    """
    if wanted == "none":
        return None
    if wanted != "auto":
        return _table_labels(place, _table_at(place, wanted), must=True)
    if place.kind != "file":
        for folder in place.places:
            for name in TABLES:
                if (folder / name).is_file() and (labels := _table_labels(place, folder / name, must=False)):
                    return labels
        tops = top_folders(place.names, place.base)
        if len(tops) > 1:
            return _folder_labels(place, tops)
    return _prefix_labels(place)


def _table_at(place: Listing, wanted: str) -> Path:
    for candidate in (Path(wanted).expanduser(), *(folder / wanted for folder in place.places)):
        if candidate.is_file():
            return candidate
    near = [entry.name for entry in place.root.iterdir() if entry.suffix in (".csv", ".tsv", ".json", ".txt")]
    raise ImagesError(
        f"There is no table of labels at '{wanted}'; give labels='auto', 'none' or a .csv, .tsv or .json of file and label."
        + did_you_mean(Path(wanted).name, near)
    )


def _folder_labels(place: Listing, tops: Sequence[str]) -> ImageLabels:
    number = {top: at for at, top in enumerate(tops)}
    inner = (name[len(place.base) :] for name in place.names)
    values = [number[name.split("/", 1)[0]] if "/" in name else -1 for name in inner]
    return ImageLabels(tuple(tops), np.array(values, np.int64), origin="folders")


def _prefix_labels(place: Listing) -> ImageLabels | None:
    matches = [re.match(r"(n\d{8})(?=[_.-])", PurePosixPath(name).name) for name in place.names]
    ids = [match.group(1) for match in matches if match]
    if len(ids) < len(place.names):
        return None
    classes = tuple(sorted(set(ids)))
    number = {name: at for at, name in enumerate(classes)}
    return ImageLabels(
        classes, np.array([number[wnid] for wnid in ids], np.int64), _class_titles(place, ids, classes), "file names"
    )


def _class_titles(place: Listing, ids: Sequence[str], classes: Sequence[str]) -> tuple[str, ...] | None:
    """Readable names of the classes, where file names go on after the id with the same words for all of a class."""
    rest: dict[str, set[str]] = {}
    for name, wnid in zip(place.names, ids, strict=True):
        rest.setdefault(wnid, set()).add(PurePosixPath(name).stem[len(wnid) + 1 :])
    words = [next(iter(rest[name])) if len(rest[name]) == 1 else "" for name in classes]
    return tuple(word.replace("_", " ") for word in words) if all(re.search(r"[A-Za-z]{2}", word) for word in words) else None


def _table_labels(place: Listing, table: Path, *, must: bool) -> ImageLabels | None:
    rows, titles = table_rows(table)
    known = {key: str(label).strip() for key, label in rows.items()}
    given = match_rows(place, table.parent, known, loose=must)
    if not any(given):
        if not must:
            return None
        first = next(iter(known), "nothing")
        raise ImagesError(
            f"The table '{table}' names none of the {len(place.names)} images: it has '{first}', "
            f"the first image is '{place.names[0]}'."
        )
    classes = _sorted_classes(set(filter(None, given)))
    number = {name: at for at, name in enumerate(classes)}
    values = np.array([number.get(label, -1) if label else -1 for label in given], np.int64)
    readable = tuple(titles.get(name, name) for name in classes) if titles else None
    return ImageLabels(classes, values, readable, table.name)


def _sorted_classes(given: set[str]) -> tuple[str, ...]:
    """Sorted class names; whole numbers are kept as they are, so that they still point at a network's outputs."""
    if all(re.fullmatch(r"-?\d+", label) for label in given):
        numbers = [int(label) for label in given]
        if max(numbers) < LARGEST_NUMBER:
            return tuple(str(at) for at in range(max(numbers) + 1))
    return tuple(sorted(given, key=name_key))


def match_rows(place: Listing, beside: Path, known: Mapping[str, Any], *, loose: bool = False) -> list[Any]:
    """For each image its entry in a table that lies in `beside`, or None.

    An entry is an image's if the image's whole path ends with it, or it with the image's path from the root's name on;
    an entry without a folder, if only one image has that name, or that name without its suffix. `loose`, and where the
    table lies inside the root: the folders of the entry need not agree as long as the name is the only one on both sides.
    """
    keys = {_normalise_path(key): value for key, value in known.items()}
    loose = loose or beside.resolve().is_relative_to(place.root.resolve())
    root = place.root.resolve()
    ends = {"/".join(parts[-length:]): key for key in keys for parts in [key.split("/")] for length in range(2, len(parts))}
    bare = Counter(PurePosixPath(name).name for name in place.names)
    stems = Counter(PurePosixPath(name).stem for name in place.names)
    last = Counter(key.rsplit("/", 1)[-1] for key in keys)
    only = {name: key for key in keys if last[name := key.rsplit("/", 1)[-1]] == 1}
    rows: list[Any] = []
    for name in place.names:
        parts = _normalise_path(f"{root.as_posix()}/{name}").split("/")
        key = next((tail for start in range(len(parts) - 1) if (tail := "/".join(parts[start:])) in keys), None)
        if key is None:
            key = ends.get(_normalise_path(f"{root.name}/{name}"))
        if key is None and bare[PurePosixPath(name).name] == 1:
            key = parts[-1] if parts[-1] in keys else only.get(parts[-1]) if loose else None
        if key is None and stems[stem := PurePosixPath(name).stem] == 1 and (stem := _normalise_path(stem)) in keys:
            key = stem
        rows.append(None if key is None else keys[key])
    return rows


def _normalise_path(path: str) -> str:
    """A path as tables and folders of any machine can be compared: forward slashes, composed Unicode, no leading "./"."""
    return unicodedata.normalize("NFC", path.replace("\\", "/")).removeprefix("./").strip("/")


def table_rows(table: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The content of a table: file to label, and class to readable name (empty if it has none).

    Raises:
        ImagesError: the table is no table.
    """
    try:
        text = table.read_text("utf-8-sig")
        if table.suffix.lower() == ".json":
            return _json_rows(json.loads(text), table)
        return _text_rows(text, table)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise ImagesError(f"The table of labels '{table}' cannot be read ({error}).") from error


def _json_rows(content: Any, table: Path) -> tuple[dict[str, str], dict[str, str]]:
    if isinstance(content, dict):
        pairs = cast(dict[str, Any], content)
        if "images" in pairs and "annotations" in pairs:
            return {}, {}  # boxes in COCO's format, which some tools call labels.json
        if all(isinstance(value, (str, int)) for value in pairs.values()):
            return {key: str(value) for key, value in pairs.items()}, {}
    if isinstance(content, list) and content and all(isinstance(record, dict) for record in cast(list[Any], content)):
        return _records(cast(list[dict[str, Any]], content), table)
    raise ImagesError(
        f"'{table}' is no table of labels: it should be {{file: label, …}} or a list of records with a file and a label."
    )


def _text_rows(text: str, table: Path) -> tuple[dict[str, str], dict[str, str]]:
    first = text.split("\n", 1)[0]
    separator = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    if not rows or min(map(len, rows)) < 2:
        raise ImagesError(f"'{table}' is no table of labels: every line should have a file and a label, separated by a comma.")
    head = [cell.strip().lower() for cell in rows[0]]
    if len(head) == 2 and any(cell in FILE_COLUMNS for cell in head) and not any(cell in LABEL_COLUMNS for cell in head):
        head = [cell if cell in FILE_COLUMNS else "label" for cell in head]  # file and one thing more: that is the label
    if any(cell in FILE_COLUMNS for cell in head):
        return _records([dict(zip(head, row, strict=False)) for row in rows[1:]], table)
    return {row[0].strip(): row[1].strip() for row in rows}, {}


def _records(records: list[dict[str, Any]], table: Path) -> tuple[dict[str, str], dict[str, str]]:
    columns = {key.lower(): key for key in records[0]} if records else {}
    file = next((columns[name] for name in FILE_COLUMNS if name in columns), None)
    label = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    if file is None or label is None:
        missing = (
            "a file (" + ", ".join(FILE_COLUMNS[:3]) + ")" if file is None else "a label (" + ", ".join(LABEL_COLUMNS[:4]) + ")"
        )
        raise UnknownName(f"The table '{table}' has the columns {', '.join(columns)}, and none of them is {missing}.")
    rows = {
        str(record[file]): str(record[label]) for record in records if record.get(file) and record.get(label) not in (None, "")
    }
    named = columns.get("name") if file != columns.get("name") else None
    titles = (
        {str(record[label]): str(record[named]) for record in records if record.get(label) and record.get(named)}
        if named
        else {}
    )
    return rows, titles
