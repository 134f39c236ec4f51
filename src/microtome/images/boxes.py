"""Boxes and outlines of objects, from COCO JSON, VOC XML or a table of boxes, and their masks (row, col).

A pixel belongs to a shape when its centre does. COCO boxes [left, top, width, height] count from the corner of the first
pixel; VOC boxes name their first and last pixel, counted from 1; boxes in a table (tiny ImageNet) name them counted from 0.

Source: COCO data format, cocodataset.org/#format-data; Everingham et al. 2010, The PASCAL VOC challenge, development kit.
"""

import csv
import json
import re
import xml.etree.ElementTree as Xml
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

from microtome.errors import ImagesError, did_you_mean
from microtome.images.labels import match_rows
from microtome.images.listing import SPLITS, Listing
from microtome.images.shapes import Regions, unpack_runs

JSONS = (
    "annotations.json",
    "_annotations.coco.json",
    "instances*.json",
    "annotations/instances*.json",
    "annotations/annotations.json",
)
TABLES = ("annotations.tsv", "val_annotations.txt", "boxes.tsv")


def read_regions(place: Listing, wanted: str) -> list[Regions | None]:
    """For each listed image the objects marked on it, or None.

    `wanted`: "auto", "none", or the path of a COCO .json, of a folder of VOC .xml files, or of a table (file, class, first
    column, first row, last column, last row).

    Raises:
        ImagesError: the file is not there, cannot be read, or names none of the images.
    """
    if wanted == "none":
        return [None] * len(place.names)
    if wanted != "auto":
        return _regions_at(place, wanted)
    for source in _coco_files(place):
        known = read_coco(source)
        rows = match_rows(place, source.parent, known) if known else []
        if any(rows):
            return cast(list[Regions | None], rows)
    for folder in place.around:
        for name in TABLES:
            if (folder / name).is_file() and any(rows := match_rows(place, folder, _read_box_table(folder / name))):
                return cast(list[Regions | None], rows)
    return _read_voc_folder(place)


def _coco_files(place: Listing) -> list[Path]:
    """COCO files in reach but those of another split; those named after the images' folder first (instances_val2017.json)."""
    paths = [path for folder in place.around for pattern in JSONS for path in sorted(folder.glob(pattern))]
    name = (place.root.resolve() / place.base).name.lower()
    mine = _split_words(name)
    fitting = [
        path for path in dict.fromkeys(paths) if not mine or not _split_words(path.stem) or mine & _split_words(path.stem)
    ]
    return sorted(fitting, key=lambda path: not path.stem.lower().endswith("_" + name))


def _split_words(name: str) -> set[str]:
    """The splits that a name speaks of: {"val"} for instances_val2017."""
    words = set(re.findall(r"[a-z]+", name.lower()))
    return {split[:3] for split in SPLITS if split in words}


def _regions_at(place: Listing, wanted: str) -> list[Regions | None]:
    for path in (Path(wanted).expanduser(), *(folder / wanted for folder in place.around)):
        if path.is_dir():
            regions: list[Regions | None] = [_read_voc_file(path, name, place) for name in place.names]
        elif path.is_file() and path.suffix.lower() == ".json":
            if (known := read_coco(path)) is None:
                raise ImagesError(f'\'{path}\' is not in COCO\'s format: it has no "images" and "annotations".')
            regions = match_rows(place, path.parent, known, loose=True)
        elif path.is_file():
            regions = match_rows(place, path.parent, _read_box_table(path), loose=True)
        else:
            continue
        if not any(regions):
            raise ImagesError(
                f"The boxes at '{path}' belong to none of the {len(place.names)} images, such as '{place.names[0]}'."
            )
        return regions
    near = [entry.name for folder in place.around for entry in folder.iterdir()]
    raise ImagesError(
        f"There are no boxes at '{wanted}'; give boxes='auto', 'none', a COCO .json or a folder of VOC .xml files."
        + did_you_mean(Path(wanted).name, near)
    )


def read_coco(path: Path) -> dict[str, Regions] | None:
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
        files = {entry["id"]: (str(entry["file_name"]), _image_size(entry)) for entry in content["images"]}
        gathered: dict[str, Regions] = {}
        for entry in content["annotations"]:
            name, size = files[entry["image_id"]]
            gathered[name] = _add_object(gathered.get(name, Regions(size=size)), entry)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ImagesError(f"The annotations '{path}' break COCO's format ({type(error).__name__}: {error}).") from error
    return {name: regions for name, regions in gathered.items() if regions.objects}


def _image_size(record: dict[str, Any]) -> tuple[int, int] | None:
    rows, cols = int(record.get("height") or 0), int(record.get("width") or 0)
    return (rows, cols) if rows > 0 and cols > 0 else None


def _add_object(regions: Regions, entry: dict[str, Any]) -> Regions:
    """The regions and one more object: its outline or run-length mask where it has one, else its box."""
    shape = entry.get("segmentation")
    if isinstance(shape, dict) and "counts" in shape:
        counts: Any = shape["counts"]
        lengths = unpack_runs(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)
        return replace(regions, runs=(*regions.runs, ((int(shape["size"][0]), int(shape["size"][1])), lengths)))
    if isinstance(shape, list) and shape:
        polygons = tuple(tuple(float(value) for value in polygon) for polygon in cast(list[Any], shape))
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError(f"annotation {entry.get('id')}: a polygon needs at least three corners")
        return replace(regions, outlines=(*regions.outlines, polygons))
    if entry.get("bbox"):
        left, top, width, height = (float(value) for value in entry["bbox"])
        if width > 0 and height > 0:
            return replace(regions, boxes=(*regions.boxes, (top, left, top + height, left + width)))
    return regions


def _read_voc_folder(place: Listing) -> list[Regions | None]:
    folders = [
        folder for parent in place.around for name in ("Annotations", "annotations") if (folder := parent / name).is_dir()
    ]
    by_image: list[Regions | None] = []
    for name in place.names:
        beside = (place.root / name).with_suffix(".xml")
        if beside.is_file():
            by_image.append(read_voc(beside))
        else:
            by_image.append(next((regions for folder in folders if (regions := _read_voc_file(folder, name, place))), None))
    return by_image


def _read_voc_file(folder: Path, name: str, place: Listing) -> Regions | None:
    stem = PurePosixPath(name).with_suffix(".xml")
    for path in (folder / stem.as_posix()[len(place.base) :], folder / stem.name):
        if path.is_file():
            return read_voc(path)
    return None


def read_voc(path: Path) -> Regions | None:
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


def _read_box_table(path: Path) -> dict[str, Regions]:
    """Boxes by file of a table with one object a line (see `read_regions`); none where it is another kind of table."""
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
