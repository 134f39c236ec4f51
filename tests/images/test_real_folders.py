"""The same on real folders, where they are: `MICROTOME_DATA`, or ../shared/data beside the repository."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from microtome.images import Images

DATA = Path(os.environ.get("MICROTOME_DATA", Path(__file__).parents[3] / "shared" / "data")) / "images"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real images at {DATA} (set MICROTOME_DATA)")


def test_photographs_by_wordnet_id() -> None:
    found = Images.folder(DATA / "imagenet200", check="header")
    assert (len(found), len(found.classes), found.skipped) == (200, 200, ())
    assert found.classes_are_wordnet
    assert found.titles[found.labels[0]] == "tench"


def test_class_folders() -> None:
    found = Images.folder(DATA / "cifar10_test", limit=50)
    assert found.classes == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    assert np.bincount(found.labels).tolist() == [5] * 10


def test_labels_and_boxes_of_a_table() -> None:
    found = Images.folder(DATA / "tiny_imagenet_val2000", check="header").limit(100)
    with (DATA / "tiny_imagenet_val2000" / "annotations.tsv").open() as stream:
        rows = {row[0]: row for row in csv.reader(stream, delimiter="\t")}
    assert len(found) == 100
    for item in found:
        _, wnid, left, top, right, bottom = rows[item.name]
        expected = np.zeros((64, 64), bool)
        expected[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = True
        assert found.classes[item.label] == wnid
        assert np.array_equal(item.mask, expected)


def test_label_maps_and_vessels() -> None:
    streets = Images.folder(DATA / "camvid_val", masks="label:8")
    assert len(streets) == 21
    assert 0 < streets[0].mask.mean() < 0.2
    for reader, share in (("1st_manual", 0.0892), ("2nd_manual", 0.0874)):
        vessels = Images.folder(DATA / "drive" / "test", masks=reader)
        assert len(vessels) == 4
        assert vessels.has_mask.all()
        assert vessels[0].mask.mean() == pytest.approx(share, abs=1e-3)  # counted from the files' own values
