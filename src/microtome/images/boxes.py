"""Boxes and outlines of objects, from COCO JSON, VOC XML or a table of boxes, and the masks (row, col) they stand for.

A pixel belongs to a shape when its centre does. COCO boxes [left, top, width, height] count from the corner of the first pixel; VOC
boxes name their first and last pixel, counted from 1; boxes in a table (tiny ImageNet) name them counted from 0.

Source: COCO data format, cocodataset.org/#format-data; Everingham et al. 2010, The PASCAL VOC challenge, development kit.
"""

import csv
import json
import xml.etree.ElementTree as Xml
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np

from microtome.errors import ImagesError, did_you_mean
from microtome.images.decoding import Header
from microtome.images.labels import matched
from microtome.images.listing import Listed
from microtome.images.masks import Mask, fitted

JSONS = (
    "annotations.json",
    "_annotations.coco.json",
    "instances*.json",
    "annotations/instances*.json",
    "annotations/annotations.json",
)
TABLES = ("annotations.tsv", "val_annotations.txt", "boxes.tsv")


@dataclass(frozen=True)
class Regions:
    """The objects marked on one picture.

    `boxes`: (top, left, bottom, right) in pixels from the corner of the first, bottom and right not included; `outlines`: for each
    object its polygons (left, top, left, top, …); `runs`: for each object ((rows, cols), lengths of runs down the columns, the
    first of background). `size`: (rows, cols) of the picture they were drawn on, if that is told.
    """

    boxes: tuple[tuple[float, float, float, float], ...] = ()
    outlines: tuple[tuple[tuple[float, ...], ...], ...] = ()
    runs: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = ()
    size: tuple[int, int] | None = None

    @property
    def objects(self) -> int:
        """How many objects are marked."""
        return len(self.boxes) + len(self.outlines) + len(self.runs)

    def mask(self, header: Header) -> Mask:
        """The union (row, col) of all objects on the picture with that header, as displayed.

        Raises:
            ImagesError: with the reason alone: drawn on a picture of another size, or all outside the picture.
        """
        shape = self.size or (self.runs[0][0] if self.runs else header.size)
        if shape not in (header.size, header.stored):
            rows, cols = header.size
            raise ImagesError(
                f"its boxes were drawn on {shape[0]}×{shape[1]} pixels (rows × columns), the picture has {rows}×{cols}"
            )
        mask = np.zeros(shape, bool)
        for box in self.boxes:
            _fill_box(mask, box)
        for polygons in self.outlines:
            for polygon in polygons:
                _fill_polygon(mask, polygon)
        for size, lengths in self.runs:
            if size != shape:
                raise ImagesError(
                    f"one of its run-length masks has {size[0]}×{size[1]} pixels, the picture {shape[0]}×{shape[1]}"
                )
            mask |= from_runs(size, lengths)
        if not mask.any():
            raise ImagesError("its boxes lie outside the picture")
        return fitted(mask, header, "its boxes")


def _fill_box(mask: Mask, box: tuple[float, float, float, float]) -> None:
    top, left, bottom, right = box
    rows, cols = _span(top, bottom), _span(left, right)
    mask[max(rows[0], 0) : max(rows[1], 0), max(cols[0], 0) : max(cols[1], 0)] = True


def _span(low: float, high: float) -> tuple[int, int]:
    """First pixel and the one after the last whose centres lie between; of a sliver, the pixel it is in."""
    first, last = int(np.ceil(low - 0.5)), int(np.ceil(high - 0.5))
    return (first, last) if last > first else (int(np.floor((low + high) / 2)), int(np.floor((low + high) / 2)) + 1)


def _fill_polygon(mask: Mask, polygon: Sequence[float]) -> None:
    """Sets the pixels whose centres a polygon holds, by the even-odd rule, row by row."""
    corners = np.asarray(polygon, float).reshape(-1, 2)
    col, row = corners[:, 0], corners[:, 1]
    next_col, next_row = np.roll(col, -1), np.roll(row, -1)
    for line in range(max(int(np.floor(row.min())), 0), min(int(np.ceil(row.max())), mask.shape[0])):
        centre = line + 0.5
        crossing = (row <= centre) != (next_row <= centre)
        share = (centre - row[crossing]) / (next_row[crossing] - row[crossing])
        at = np.sort(col[crossing] + share * (next_col[crossing] - col[crossing]))
        for left, right in zip(at[::2], at[1::2], strict=True):
            mask[line, max(int(np.ceil(left - 0.5)), 0) : max(int(np.ceil(right - 0.5)), 0)] = True


def from_runs(size: tuple[int, int], lengths: Iterable[int]) -> Mask:
    """The mask (row, col) of runs down the columns, background first.

    Raises:
        ImagesError: with the reason alone: the runs do not fill the picture.
    """
    counts = np.fromiter(lengths, np.int64)
    if counts.sum() != size[0] * size[1] or (counts < 0).any():
        raise ImagesError(
            f"its run-length mask holds {counts.sum()} pixels, not the {size[0] * size[1]} of {size[0]}×{size[1]}"
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size[1], size[0]).T.copy()


def unpacked(text: str) -> tuple[int, ...]:
    """The run lengths that COCO packs into a string: six bits a character, five of them a digit, each run from the third on as its
    difference from the one before the last."""
    lengths: list[int] = []
    value = place = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << place
        place += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << place
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = place = 0
    return tuple(lengths)


def regions_of(place: Listed, wanted: str) -> list[Regions | None]:
    """For each listed picture the objects marked on it, or None.

    `wanted`: "auto", "none", or the path of a COCO .json, of a folder of VOC .xml files, or of a table (file, class, first column,
    first row, last column, last row).

    Raises:
        ImagesError: the file is not there, cannot be read, or names none of the pictures.
    """
    if wanted == "none":
        return [None] * len(place.names)
    if wanted != "auto":
        return _at(place, wanted)
    for source in _candidates(place):
        known = coco(source)
        found = matched(place, source.parent, known) if known else []
        if any(found):
            return cast(list[Regions | None], found)
    for folder in place.places:
        for name in TABLES:
            if (folder / name).is_file() and any(found := matched(place, folder, _table(folder / name))):
                return cast(list[Regions | None], found)
    return _voc_beside(place)


def _candidates(place: Listed) -> list[Path]:
    """COCO files in reach; those named after the pictures' folder first, as instances_val2017.json is."""
    found = [path for folder in place.places for pattern in JSONS for path in sorted(folder.glob(pattern))]
    name = (place.root / place.base).name.lower()
    return sorted(dict.fromkeys(found), key=lambda path: not path.stem.lower().endswith("_" + name))


def _at(place: Listed, wanted: str) -> list[Regions | None]:
    for path in (Path(wanted).expanduser(), *(folder / wanted for folder in place.places)):
        if path.is_dir():
            found: list[Regions | None] = [_voc_in(path, name, place) for name in place.names]
        elif path.is_file() and path.suffix.lower() == ".json":
            if (known := coco(path)) is None:
                raise ImagesError(f'\'{path}\' is not in COCO\'s format: it has no "images" and "annotations".')
            found = matched(place, path.parent, known)
        elif path.is_file():
            found = matched(place, path.parent, _table(path))
        else:
            continue
        if not any(found):
            raise ImagesError(
                f"The boxes at '{path}' belong to none of the {len(place.names)} pictures, such as '{place.names[0]}'."
            )
        return found
    near = [entry.name for folder in place.places for entry in folder.iterdir()]
    raise ImagesError(
        f"There are no boxes at '{wanted}'; give boxes='auto', 'none', a COCO .json or a folder of VOC .xml files."
        + did_you_mean(Path(wanted).name, near)
    )


def coco(path: Path) -> dict[str, Regions] | None:
    """The objects of each file in a COCO file; None where the JSON is something else.

    Raises:
        ImagesError: the file cannot be read, or breaks its own format.
    """
    try:
        content: Any = json.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ImagesError(f"The annotations '{path}' cannot be read ({error}).") from error
    if not isinstance(content, dict) or not {"images", "annotations"} <= cast(dict[str, Any], content).keys():
        return None
    try:
        files = {one["id"]: (str(one["file_name"]), _size(one)) for one in content["images"]}
        gathered: dict[str, Regions] = {}
        for one in content["annotations"]:
            name, size = files[one["image_id"]]
            gathered[name] = _with(gathered.get(name, Regions(size=size)), one)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImagesError(f"The annotations '{path}' break COCO's format ({type(error).__name__}: {error}).") from error
    return {name: regions for name, regions in gathered.items() if regions.objects}


def _size(record: dict[str, Any]) -> tuple[int, int] | None:
    rows, cols = int(record.get("height") or 0), int(record.get("width") or 0)
    return (rows, cols) if rows > 0 and cols > 0 else None


def _with(regions: Regions, one: dict[str, Any]) -> Regions:
    """The regions and one more object: its outline or run-length mask where it has one, else its box."""
    shape = one.get("segmentation")
    if isinstance(shape, dict) and "counts" in shape:
        counts: Any = shape["counts"]
        lengths = unpacked(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)
        return replace(regions, runs=(*regions.runs, ((int(shape["size"][0]), int(shape["size"][1])), lengths)))
    if isinstance(shape, list) and shape:
        polygons = tuple(tuple(float(value) for value in polygon) for polygon in cast(list[Any], shape))
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError(f"annotation {one.get('id')}: a polygon needs at least three corners")
        return replace(regions, outlines=(*regions.outlines, polygons))
    if one.get("bbox"):
        left, top, width, height = (float(value) for value in one["bbox"])
        if width > 0 and height > 0:
            return replace(regions, boxes=(*regions.boxes, (top, left, top + height, left + width)))
    return regions


def _voc_beside(place: Listed) -> list[Regions | None]:
    folders = [
        folder for parent in place.places for name in ("Annotations", "annotations") if (folder := parent / name).is_dir()
    ]
    found: list[Regions | None] = []
    for name in place.names:
        beside = (place.root / name).with_suffix(".xml")
        if beside.is_file():
            found.append(voc(beside))
        else:
            found.append(next((regions for folder in folders if (regions := _voc_in(folder, name, place))), None))
    return found


def _voc_in(folder: Path, name: str, place: Listed) -> Regions | None:
    stem = PurePosixPath(name).with_suffix(".xml")
    for path in (folder / stem.as_posix()[len(place.base) :], folder / stem.name):
        if path.is_file():
            return voc(path)
    return None


def voc(path: Path) -> Regions | None:
    """The boxes of a VOC annotation; None where it marks no object or is another kind of XML.

    Raises:
        ImagesError: the file cannot be read, or a box lacks a corner.
    """
    try:
        tree = Xml.fromstring(path.read_bytes())
        boxes = [
            tuple(float(box.findtext(corner) or "") for corner in ("ymin", "xmin", "ymax", "xmax"))
            for box in tree.iterfind("object/bndbox")
        ]
        size = (int(float(tree.findtext("size/height") or 0)), int(float(tree.findtext("size/width") or 0)))
    except (OSError, Xml.ParseError, ValueError) as error:
        raise ImagesError(f"The annotation '{path}' cannot be read ({error}).") from error
    shapes = tuple((top - 1, left - 1, bottom, right) for top, left, bottom, right in boxes)
    return Regions(boxes=shapes, size=size if min(size) > 0 else None) if shapes else None


def _table(path: Path) -> dict[str, Regions]:
    """Boxes of a table with one object a line: file, class, first column, first row, last column, last row; none if it is another."""
    gathered: dict[str, Regions] = {}
    try:
        text = path.read_text("utf-8-sig")
        for row in csv.reader(text.splitlines(), delimiter="\t" if "\t" in text else ","):
            if len(row) < 6:
                continue
            try:
                left, top, right, bottom = (float(cell) for cell in row[2:6])
            except ValueError:
                continue  # a line of headings
            known = gathered.get(row[0], Regions())
            gathered[row[0]] = replace(known, boxes=(*known.boxes, (top, left, bottom + 1, right + 1)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImagesError(f"The table of boxes '{path}' cannot be read ({error}).") from error
    return gathered
