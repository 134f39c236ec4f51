import json
from pathlib import Path

import pytest

from microtome.errors import BadOption
from microtome.specimen.labels import given_labels, imagenet_labels


def test_imagenet_in_order() -> None:
    names, ids = imagenet_labels()
    assert (len(names), len(ids or ())) == (1000, 1000)
    assert list(ids or ()) == sorted(ids or ())  # ImageNet-1k's classes are in the order of their WordNet ids
    assert names[207].startswith("golden retriever")


def test_files_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\n\n dog \n")
    (tmp_path / "b.json").write_text(json.dumps(["cat", "dog"]))
    (tmp_path / "c.json").write_text(json.dumps({str(i): [f"n{i}", f"name {i}"] for i in range(11)}))
    assert given_labels(tmp_path / "a.txt")[0] == ("cat", "dog")
    assert given_labels(str(tmp_path / "b.json"))[0] == ("cat", "dog")
    assert given_labels(tmp_path / "c.json")[0][10] == "name 10"
    assert given_labels(["cat", 3])[0] == ("cat", "3")
    assert given_labels("imagenet")[1] is not None


def test_labels_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "number.json").write_text("3")
    for value in (tmp_path / "bad.json", tmp_path / "number.json", tmp_path / "gone.txt", 3):
        with pytest.raises(BadOption):
            given_labels(value)
