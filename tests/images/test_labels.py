"""Labels from file names and tables."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from microtome.errors import ImagesError, UnknownName
from microtome.images import Images

Write = Callable[..., Path]


def labelled(found: Images) -> dict[str, str | None]:
    return {item.name: None if item.label is None else found.classes[item.label] for item in found}


def test_wordnet_ids_before_every_name(written: Write, tmp_path: Path) -> None:
    for name in ("n02123045_tabby_cat.JPEG", "n01440764_tench.JPEG", "n01440764_1.JPEG"):
        written(name)
    found = Images.folder(tmp_path)
    assert found.classes == ("n01440764", "n02123045")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.classes_are_wordnet
    written("other.jpg")
    assert Images.folder(tmp_path).labels is None


@pytest.mark.parametrize(
    "table",
    [
        "file,label\na.png,cat\nb.png,dog\n",
        "a.png,cat\nb.png,dog\n",
        "\ufefflabel,path\ncat,a.png\ndog,./b.png\n",
        "image;class\na.png;cat\nb.png;dog\n",
        "id,label\na,cat\nb,dog\n",
        "filename\tclass\na.png\tcat\nb.png\tdog\n",
        "photo,colour\na.png,cat\nb.png,dog\n",
        "file,colour\na.png,cat\nb.png,dog\n",
    ],
)
def test_csv(written: Write, tmp_path: Path, table: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        written(name)
    written("labels.csv", table.encode())
    found = Images.folder(tmp_path)
    assert labelled(found) == {"a.png": "cat", "b.png": "dog", "c.png": None}
    assert found.labels.tolist() == [0, 1, -1]


def test_json_records_with_readable_names(written: Write, tmp_path: Path) -> None:
    written("x.png")
    written("y.png")
    records = [
        {"file": "y.png", "wnid": "n01440764", "name": "tench", "index": 0},
        {"file": "x.png", "wnid": "n02123045", "name": "tabby"},
    ]
    written("labels.json", json.dumps(records).encode())
    found = Images.folder(tmp_path)
    assert found.classes == ("n01440764", "n02123045")
    assert found.titles == ("tench", "tabby")
    assert found.labels.tolist() == [1, 0]


def test_numbers_keep_their_meaning(written: Write, tmp_path: Path) -> None:
    written("x.png")
    written("y.png")
    written("labels.json", json.dumps({"x.png": 7, "y.png": 3}).encode())
    found = Images.folder(tmp_path)
    assert found.labels.tolist() == [7, 3]
    assert len(found.classes) == 8


def test_the_tiny_imagenet_layout(written: Write, tmp_path: Path) -> None:
    for number in (0, 1):
        written(f"val/images/val_{number}.JPEG", size=(64, 64))
    written("val/val_annotations.txt", b"val_0.JPEG\tn03444034\t0\t32\t44\t62\nval_1.JPEG\tn01440764\t52\t55\t57\t59\n")
    for folder in ("val", "val/images"):
        found = Images.folder(tmp_path / folder)
        assert [found.classes[label] for label in found.labels] == ["n03444034", "n01440764"]
        assert found.mask_kind == "box"
        mask = found[0].mask
        assert mask[32:63, 0:45].all()
        assert mask.sum() == 31 * 45


def test_a_table_of_another_folder_is_not_taken(written: Write, tmp_path: Path) -> None:
    written("images/train/1.png")
    written("images/val/1.png", (0, 0, 255))
    written("images/labels.csv", b"train/1.png,cat\n")
    assert Images.folder(tmp_path / "images" / "val").labels is None
    assert Images.folder(tmp_path / "images" / "val", labels=str(tmp_path / "images" / "labels.csv")).classes == ("cat",)


def test_same_names_in_several_folders(written: Write, tmp_path: Path) -> None:
    written("a/1.png")
    written("b/1.png")
    written("labels.csv", b"data/set/a/1.png,cat\ndata/set/b/1.png,dog\n")
    assert Images.folder(tmp_path).classes == ("a", "b")  # the table speaks of other folders
    written("labels.csv", b"a/1.png,cat\nb/1.png,dog\n")
    assert labelled(Images.folder(tmp_path)) == {"a/1.png": "cat", "b/1.png": "dog"}


def test_tables_that_will_not_do(written: Write, tmp_path: Path) -> None:
    written("a.png")
    written("words.csv", b"one\ntwo\n")
    written("others.csv", b"z.png,cat\n")
    written("odd.csv", b"file,colour,price\na.png,red,3\n")
    written("broken.json", b"{")
    for name, said in (
        ("words.csv", "every line should have a file and a label"),
        ("others.csv", "names none of the 1 images"),
        ("broken.json", "cannot be read"),
    ):
        with pytest.raises(ImagesError, match=said):
            Images.folder(tmp_path, labels=name)
    with pytest.raises(UnknownName, match="none of them is a label"):
        Images.folder(tmp_path, labels=str(tmp_path / "odd.csv"))
    with pytest.raises(ImagesError, match=r"no table of labels at 'other.csv'.*Did you mean 'others.csv'"):
        Images.folder(tmp_path, labels="other.csv")
