"""Masks: which belongs to which image, and exactly which pixels they mark."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from microtome.errors import ImagesError
from microtome.images import Images
from microtome.images.decoding import ORIENTATION, Header
from microtome.images.masks import MaskFile

Write = Callable[..., Path]
SPOT = np.zeros((4, 6), np.uint8)
SPOT[1:3, 2:5] = 255


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("a.jpg", "a_mask.png"),
        ("in/a.jpg", "in/a-mask.png"),
        ("a.jpg", "masks/a.png"),
        ("in/a.jpg", "masks/in/a.png"),
        ("in/a.jpg", "in/masks/a_mask.gif"),
        ("images/a.jpg", "masks/a.png"),
        ("image/a.png", "label/a.png"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        ("images/in/a.png", "labels/in/a_L.png"),
    ],
)
def test_where_masks_lie(written: Write, tmp_path: Path, picture: str, mask: str) -> None:
    written(f"set/{picture}")
    written(f"set/{mask}", SPOT)
    found = Images.folder(tmp_path / "set")
    assert found.names == (picture,)
    assert found.has_masks
    assert found.mask_kind == found[0].mask_kind == "mask"
    assert np.array_equal(found[0].mask, SPOT > 0)
    assert found[0].facts["area"] == 6 / 24
    inner = picture.split("/")[0]
    if inner.lower() in ("images", "image", "jpegimages"):
        assert Images.folder(tmp_path / "set" / inner).has_masks
    assert not Images.folder(tmp_path / "set", masks="none").has_masks


def test_a_mask_is_not_taken_for_a_picture_and_some_may_lack_one(written: Write, tmp_path: Path, recipe) -> None:
    written("a.png")
    written("b.png")
    written("c_mask.png")
    written("a_mask.png", SPOT)
    found = Images.folder(tmp_path)
    assert found.names == ("a.png", "b.png", "c_mask.png")
    assert found.has_mask.tolist() == [True, False, False]
    assert found[1].mask is None
    seen = found.masks(recipe)
    assert seen.shape == (3, 8, 8)
    assert seen.dtype == bool
    assert seen[0].any()
    assert not seen[1:].any()


@pytest.mark.parametrize(
    ("mode", "values"),
    [("L", [0, 1, 255]), ("1", [0, 255, 255]), ("I;16", [0, 1, 40000]), ("P", [0, 1, 2])],
)
def test_anything_but_zero_is_object(written: Write, tmp_path: Path, mode: str, values: list[int]) -> None:
    written("a.png", size=(1, 3))
    mask = Image.new(mode, (3, 1))
    mask.putdata(values)
    if mode == "P":
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    mask.save(tmp_path / "a_mask.png")
    assert Images.folder(tmp_path)[0].mask.tolist() == [[False, True, True]]


def test_colour_alpha_and_bright_palettes(written: Write, tmp_path: Path) -> None:
    shapes: dict[str, Any] = {
        "rgb": Image.fromarray(np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8)),
        "rgba": Image.fromarray(np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)),
        "alpha": Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)),
    }
    bright = Image.new("P", (2, 1))
    bright.putdata([1, 0])
    bright.putpalette([255, 255, 255, 4, 2, 4])  # a two-colour GIF may number white first
    shapes["bright"] = bright
    for name, mask in shapes.items():
        written(f"{name}.png", size=(1, 2))
        mask.save(tmp_path / f"{name}_mask.png")
    found = Images.folder(tmp_path)
    assert len(found) == 4
    assert [item.mask.tolist() for item in found] == [[[False, True]]] * 4


def test_noise_of_a_jpeg_mask_is_not_object(written: Write, tmp_path: Path) -> None:
    spot = np.roll(np.kron(SPOT, np.ones((16, 16), np.uint8)), 3, axis=(0, 1))  # off the grid of the blocks
    written("a.png", size=(64, 96))
    written("a_mask.jpg", spot, quality=50)
    assert (np.asarray(Image.open(tmp_path / "a_mask.jpg")) != 0).sum() > (spot != 0).sum()  # there is noise
    assert (Images.folder(tmp_path)[0].mask != (spot > 0)).mean() < 0.01


def test_label_maps(written: Write, tmp_path: Path) -> None:
    written("image/a.png", size=(1, 5))
    written("label/a.png", np.array([[0, 8, 9, 10, 255]], np.uint8))
    plain = Images.folder(tmp_path)
    found = Images.folder(tmp_path, masks="label:8-9,255")
    assert found[0].mask.tolist() == [[False, True, True, False, True]]
    assert Images.folder(tmp_path, masks="auto:0")[0].mask.tolist() == [[True, False, False, False, False]]
    assert found.digest() != plain.digest() != Images.folder(tmp_path, masks="label:8").digest()


def test_masks_of_another_first_word_only_when_asked_for(written: Write, tmp_path: Path) -> None:
    for number in ("01", "02"):
        written(f"images/{number}_test.png")
        written(f"1st_manual/{number}_manual1.png", SPOT)
    assert not Images.folder(tmp_path / "images").has_masks
    for place, masks in (
        (tmp_path, "1st_manual"),
        (tmp_path / "images", "1st_manual"),
        (tmp_path, str(tmp_path / "1st_manual")),
    ):
        found = Images.folder(place, masks=masks)
        assert len(found) == 2
        assert found.has_mask.all()


def test_a_mask_of_another_size_or_broken_is_skipped_by_name(written: Write, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        written(f"{name}.png")
    written("a_mask.png", SPOT)
    written("b_mask.png", SPOT[:2])
    written("c_mask.png", b"words")
    for check in ("full", "header"):
        found = Images.folder(tmp_path, check=check)
        assert found.names == ("a.png",)
        assert [(one.path, one.reason) for one in found.skipped] == [
            ("b.png", "its mask b_mask.png has 2×6 pixels (rows × columns), the image 4×6"),
            ("c.png", "its mask c_mask.png cannot be used: text, not an image"),
        ]


def test_masks_that_were_asked_for_and_are_not_there(written: Write, tmp_path: Path, recipe) -> None:
    written("a.png")
    written("outlines/z.png", SPOT)
    with pytest.raises(ImagesError, match=r"no masks at 'outlinse'.*Did you mean 'outlines'"):
        Images.folder(tmp_path, masks="outlinse")
    with pytest.raises(ImagesError, match=r"No mask at 'outlines' belongs to an image"):
        Images.folder(tmp_path, masks="outlines")
    with pytest.raises(ImagesError, match=r"has no masks or boxes"):
        Images.folder(tmp_path, labels="none").masks(recipe)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("stored", [True, False])
def test_masks_and_boxes_of_turned_pictures(tmp_path: Path, orientation: int, stored: bool) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[2:6, 3:13] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    displayed = np.asarray(Images.folder(tmp_path)[0].picture)[..., 0] > 0
    swaps = orientation > 4
    mask = pixels[..., 0] if stored and swaps else displayed.astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "a_mask.png")
    assert np.array_equal(Images.folder(tmp_path)[0].mask, displayed)
    (tmp_path / "a_mask.png").unlink()
    top, left = np.argwhere(mask)[0]
    bottom, right = np.argwhere(mask)[-1] + 1
    box = {"id": 1, "image_id": 1, "bbox": [int(left), int(top), int(right - left), int(bottom - top)]}
    facts = {"id": 1, "file_name": "a.png", "height": mask.shape[0], "width": mask.shape[1]}
    (tmp_path / "annotations.json").write_text(json.dumps({"images": [facts], "annotations": [box]}))
    assert np.array_equal(Images.folder(tmp_path)[0].mask, displayed)


def voc(*corners: tuple[int, int, int, int], size: tuple[int, int] = (20, 30)) -> bytes:
    boxes = "".join(
        f"<object><name>x</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in corners
    )
    return f"<annotation><size><width>{size[1]}</width><height>{size[0]}</height></size>{boxes}</annotation>".encode()


def test_a_mask_file_wins_over_a_box_and_both_count_for_the_digest(written: Write, tmp_path: Path) -> None:
    written("a.png")
    bare = Images.folder(tmp_path).digest()
    written("a.xml", voc((1, 1, 2, 2), size=(4, 6)))
    boxed = Images.folder(tmp_path)
    digests = [bare, boxed.digest()]
    written("a_mask.png", SPOT)
    masked = Images.folder(tmp_path)
    digests.append(masked.digest())
    written("a_mask.png", SPOT // 2)
    digests.append(Images.folder(tmp_path).digest())
    assert (boxed.mask_kind, masked.mask_kind) == ("box", "mask")
    assert len(set(digests)) == 4


VOC_PALETTE = [0, 0, 0] + [128, 64, 32] * 254 + [224, 224, 192]


@pytest.mark.parametrize(
    ("values", "mode", "palette", "expected"),
    [
        ([0, 15, 255], "P", VOC_PALETTE, [0, 1, 0]),
        ([0, 0, 255], "P", VOC_PALETTE, [0, 0, 0]),
        ([0, 0, 255], "P", [0, 0, 0] + [255, 255, 255] * 255, [0, 0, 1]),
        ([0, 3, 255], "P", [0, 0, 0] + [255, 255, 255] * 255, [0, 1, 0]),
        ([0, 3, 3, 7, 255], "L", None, [0, 1, 1, 1, 0]),
        ([0, 255, 255], "L", None, [0, 1, 1]),
        ([0, 60, 128, 200, 255], "L", None, [0, 1, 1, 1, 1]),
        ([0, 1, 255, 255], "L", None, [0, 1, 1, 1]),
        ([0, 128, 128], "L", None, [0, 1, 1]),
    ],
)
def test_void_is_no_object(
    tmp_path: Path, values: list[int], mode: str, palette: list[int] | None, expected: list[int]
) -> None:
    picture = Image.fromarray(np.array([values], np.uint8), "L")
    if mode == "P":
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette(palette)
    picture.save(tmp_path / "m.png")
    header = Header((1, len(values)), (1, len(values)), 1, ())
    assert MaskFile(tmp_path / "m.png").mask(header).astype(int).tolist() == [expected]
    ids = frozenset({255})
    assert MaskFile(tmp_path / "m.png", ids).mask(header).astype(int).tolist() == [[int(one == 255) for one in values]]
