"""Examples of concepts: classes and folders, their order, and what counterparts are drawn from."""

import numpy as np
import pytest
from PIL import Image

import microtome as mt
from microtome.analyses.concepts.examples import (
    class_places,
    concept_folder,
    counterpart_pool,
    find_examples,
    folder_digests,
    in_content_order,
)
from microtome.errors import ImagesError, UnknownName, Unmeasurable


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "dots").mkdir()
    for number in range(6):
        Image.fromarray(draw.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "dots" / f"{number}.png")
    return tmp_path / "dots"


def test_a_class_of_the_images(pics):
    wide = mt.Images.scenes(60, seed=5, size=32)
    (examples,) = find_examples(["class:star"], wide)
    assert examples.name == "star" and examples.count == 6
    assert (wide.labels[examples.inside] == wide.classes.index("star")).all()
    with pytest.raises(UnknownName, match="no class 'stars'.*star"):
        class_places(wide, "stars")
    with pytest.raises(UnknownName, match="They have no classes; name the folder"):
        class_places(mt.Images.tensors(np.zeros((2, 8, 8, 3), np.uint8)), "star")
    with pytest.raises(Unmeasurable, match="'star' has 4 example images"):
        find_examples(["class:star"], pics)


def test_a_folder_and_its_copies_in_the_set(folder):
    whole = mt.Images.folder(folder)
    (examples,) = find_examples([f"{folder}/"], whole.take([4, 1]))
    assert examples.name == "dots" and examples.count == 6 and sorted(examples.copies) == [0, 1]
    assert concept_folder(str(folder)).classes is None
    assert folder_digests([str(folder), "class:star"]) == concept_folder(str(folder)).digest()
    with pytest.raises(ImagesError):
        find_examples(["nowhere/"], whole)


def test_order_and_pool(pics):
    (examples,) = find_examples(["class:disc"], mt.Images.scenes(60, seed=5, size=32))
    images = mt.Images.scenes(60, seed=5, size=32)
    members = np.flatnonzero(images.labels == images.classes.index("star"))
    pool = counterpart_pool(images, examples, members, "star")
    assert len(pool) == 48 and not np.isin(pool, [*members, *examples.inside]).any()
    assert pool.tolist() == [place for place in images.content_order().tolist() if place in set(pool.tolist())]
    assert sorted(in_content_order(images, np.array([3, 1]))) == [1, 3]
    left = np.setdiff1d(np.arange(60), examples.inside)[11:]
    with pytest.raises(Unmeasurable, match="^11 images lie outside the concept 'disc' and the class 'most'.* need 12"):
        counterpart_pool(images, examples, left, "most")
