"""Boxes and outlines of COCO, VOC and tables: which belong to which image, and exactly which pixels they mark."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.errors import ImagesError
from microtome.images import Images

Write = Callable[..., Path]


def rectangle(rows: slice, cols: slice, shape: tuple[int, int] = (20, 30)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, cols] = True
    return mask


def coco(*objects: dict[str, Any], size: tuple[int, int] | None = (20, 30)) -> bytes:
    facts: dict[str, Any] = {"id": 5, "file_name": "a.png"} | ({"height": size[0], "width": size[1]} if size else {})
    return json.dumps(
        {"images": [facts], "annotations": [{"id": n, "image_id": 5} | one for n, one in enumerate(objects)]}
    ).encode()


@pytest.mark.parametrize(
    ("objects", "mask", "kind"),
    [
        ([{"bbox": [3, 2, 10, 4]}], rectangle(slice(2, 6), slice(3, 13)), "box"),
        (
            [{"bbox": [2.6, 1.6, 10, 4.1]}],
            rectangle(slice(2, 6), slice(3, 13)),
            "box",
        ),  # centres 2.5 … 5.5 and 3.5 … 12.5 are inside
        ([{"bbox": [25, -5, 50, 50]}], rectangle(slice(0, 20), slice(25, 30)), "box"),
        ([{"bbox": [3, 2, 1, 1]}, {"bbox": [5, 2, 1, 1]}], rectangle(slice(2, 3), slice(3, 6, 2)), "box"),
        ([{"segmentation": [[3, 2, 13, 2, 13, 6, 3, 6]], "bbox": [0, 0, 9, 9]}], rectangle(slice(2, 6), slice(3, 13)), "mask"),
        ([{"segmentation": {"size": [20, 30], "counts": [42, 3, 555]}}], rectangle(slice(2, 5), slice(2, 3)), "mask"),
        ([{"segmentation": {"size": [20, 30], "counts": "Z13[a0"}}], rectangle(slice(2, 5), slice(2, 3)), "mask"),
    ],
)
def test_coco(written: Write, tmp_path: Path, objects: list[dict[str, Any]], mask: np.ndarray, kind: str) -> None:
    written("a.png", size=(20, 30))
    written("annotations.json", coco(*objects))
    found = Images.folder(tmp_path)
    assert np.array_equal(found[0].mask, mask)
    assert found[0].mask_kind == kind
    assert found[0].facts["objects"] == len(objects)
    assert found.facts("area")[0] == mask.mean()
    assert found.labels is None


def test_coco_beside_and_of_the_right_split(written: Write, tmp_path: Path) -> None:
    written("val2017/a.png", size=(20, 30))
    written("annotations/instances_train2017.json", coco({"bbox": [0, 0, 30, 20]}))
    assert not Images.folder(tmp_path / "val2017").has_masks
    written("annotations/instances_val2017.json", coco({"bbox": [3, 2, 10, 4]}))
    assert Images.folder(tmp_path / "val2017")[0].mask.sum() == 40
    written("other.json", coco({"bbox": [0, 0, 2, 2]}))
    assert Images.folder(tmp_path / "val2017", boxes=str(tmp_path / "other.json"))[0].mask.sum() == 4
    assert not Images.folder(tmp_path / "val2017", boxes="none").has_masks


def test_coco_that_does_not_fit(written: Write, tmp_path: Path) -> None:
    written("a.png", size=(20, 30))
    written("b.png", size=(20, 30))
    written("annotations.json", coco({"bbox": [1, 1, 2, 2]}, size=(99, 30)))
    assert (
        Images.folder(tmp_path).skipped[0].reason
        == "its boxes were drawn on 99×30 pixels (rows × columns), the image has 20×30"
    )
    written("annotations.json", coco({"bbox": [100, 100, 2, 2]}, size=None))
    assert Images.folder(tmp_path).skipped[0].reason == "its boxes lie outside the image"
    for content, said in (
        (b"{", "cannot be read"),
        (coco({"segmentation": [[1, 2, 3]]}), "break COCO's format .*three corners"),
    ):
        written("annotations.json", content)
        with pytest.raises(ImagesError, match=said):
            Images.folder(tmp_path)
    written("annotations.json", b'{"some": "thing else"}')
    assert len(Images.folder(tmp_path)) == 2
    with pytest.raises(ImagesError, match="is not in COCO's format"):
        Images.folder(tmp_path, boxes="annotations.json")


def voc(*corners: tuple[int, int, int, int], size: tuple[int, int] = (20, 30)) -> bytes:
    boxes = "".join(
        f"<object><name>x</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in corners
    )
    return f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>{boxes}</annotation>".encode()


@pytest.mark.parametrize(
    ("picture", "annotation"), [("a.png", "a.xml"), ("a.png", "Annotations/a.xml"), ("JPEGImages/a.png", "Annotations/a.xml")]
)
def test_voc(written: Write, tmp_path: Path, picture: str, annotation: str) -> None:
    written(picture, size=(20, 30))
    written(annotation, voc((4, 3, 13, 6), (1, 1, 1, 1)))  # counted from 1, both ends included
    expected = rectangle(slice(2, 6), slice(3, 13)) | rectangle(slice(0, 1), slice(0, 1))
    found = Images.folder(tmp_path)
    assert np.array_equal(found[0].mask, expected)
    assert found[0].facts["objects"] == 2
    assert found.mask_kind == "box"
    assert "boxes for all" in found.describe()


def test_voc_without_objects_or_damaged(written: Write, tmp_path: Path) -> None:
    written("a.png", size=(20, 30))
    written("a.xml", voc())
    assert not Images.folder(tmp_path).has_masks
    written("a.xml", b"<annotation>")
    with pytest.raises(ImagesError, match=r"a.xml' cannot be read"):
        Images.folder(tmp_path)
