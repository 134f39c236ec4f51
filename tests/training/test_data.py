"""The split: the same fraction of each class by seed, subsets that grow, classes matched by name, and what cannot be learned."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from microtome.errors import BadOption, ImagesError
from microtome.specimen import Recipe
from microtome.training.data import limit_per_class, open_labelled, open_training_data, validation_places
from microtome.training.recipe import DataChoice

LABELS = np.repeat([0, 1, 2], [10, 20, 1])


def write_folder(root: Path, counts: dict[str, int]) -> str:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number * 9, 0, 0)).save(root / name / f"{number}.png")
    return str(root)


def test_of_each_class_the_same_fraction_validates_and_a_lone_image_trains() -> None:
    places = validation_places(LABELS, 0.2, seed=3)
    assert Counter(LABELS[places].tolist()) == {0: 2, 1: 4}  # 20% of 10 and 20; of one image none can be spared
    assert np.array_equal(places, validation_places(LABELS, 0.2, seed=3))
    assert not np.array_equal(places, validation_places(LABELS, 0.2, seed=4))
    assert Counter(LABELS[validation_places(LABELS, 0.01, 0)].tolist()) == {0: 1, 1: 1}  # at least one
    assert len(validation_places(LABELS, 0.0, 0)) == 0


def test_a_smaller_number_per_class_is_part_of_a_larger_one() -> None:
    places = np.arange(31)
    few, more = (limit_per_class(LABELS, places, count, seed=5) for count in (2, 6))
    assert Counter(LABELS[few].tolist()) == {0: 2, 1: 2, 2: 1}
    assert Counter(LABELS[more].tolist()) == {0: 6, 1: 6, 2: 1}
    assert set(few) <= set(more)
    assert np.array_equal(limit_per_class(LABELS, places, 0, 5), places)


def test_a_folder_is_split_without_overlap(tmp_path: Path) -> None:
    word = write_folder(tmp_path / "a", {"cat": 10, "dog": 20})
    data = open_training_data(DataChoice(images=word, validation_fraction=0.2, per_class=5), seed=0)
    assert data.classes == ("cat", "dog")
    assert data.validation is not None
    assert Counter(data.training.labels.tolist()) == {0: 5, 1: 5}
    assert Counter(data.validation.labels.tolist()) == {0: 2, 1: 4}
    assert not set(data.training.images.names) & set(data.validation.images.names)
    assert [name.startswith("dog") for name in data.training.images.names] == (data.training.labels == 1).tolist()


def test_validation_images_of_their_own_are_matched_by_the_names_of_classes(tmp_path: Path) -> None:
    word = write_folder(tmp_path / "a", {"ant": 3, "cat": 3, "dog": 3})
    own = write_folder(tmp_path / "b", {"cat": 1, "dog": 2})
    data = open_training_data(DataChoice(images=word, validation=own), seed=0)
    assert data.validation is not None
    assert data.validation.labels.tolist() == [1, 2, 2]  # the numbers of the training images
    assert len(data.training) == 9
    strange = write_folder(tmp_path / "c", {"cat": 1, "dogs": 2})
    with pytest.raises(ImagesError, match=r"class 'dogs' .* Did you mean 'dog'"):
        open_training_data(DataChoice(images=word, validation=strange), seed=0)


def test_turned_images_are_turned_alike_for_training_and_validation() -> None:
    plain = open_training_data(DataChoice(images="scenes:20,size=16"), seed=0)
    turned = open_training_data(DataChoice(images="scenes:20,size=16", turn="90"), seed=0)
    framing = Recipe(size=(16, 16), crop=1.0)
    for before, after in ((plain.training, turned.training), (plain.validation, turned.validation)):
        assert before is not None
        assert after is not None
        first = np.array([0])
        assert np.array_equal(np.rot90(before.inputs(framing, first)[0]), after.inputs(framing, first)[0])


def test_targets_of_masks_are_background_or_label_plus_one() -> None:
    data = open_training_data(DataChoice(images="scenes:12,size=16"), seed=0, segments=True)
    framing = Recipe(size=(16, 16), crop=1.0)
    targets = data.training.targets(framing, np.array([0, 1]))
    masks = data.training.images.masks(framing, [0, 1])
    for target, mask, label in zip(targets, masks, data.training.labels[:2], strict=True):
        assert np.array_equal(target, np.where(mask, label + 1, 0))


def test_what_cannot_be_learned_is_refused_in_one_sentence(tmp_path: Path) -> None:
    alone = write_folder(tmp_path / "one", {"cat": 4})
    flat = tmp_path / "flat"
    flat.mkdir()
    for number in range(3):
        Image.new("RGB", (8, 8)).save(flat / f"{number}.png")
    with pytest.raises(ImagesError, match=r"has no labels to learn; put the images of each class into a folder"):
        open_training_data(DataChoice(images=str(flat)), seed=0)
    with pytest.raises(ImagesError, match=r"one class only|has no labels"):
        open_training_data(DataChoice(images=alone), seed=0)
    two = write_folder(tmp_path / "two", {"cat": 3, "dog": 3})
    with pytest.raises(ImagesError, match=r"has no masks"):
        open_training_data(DataChoice(images=two), seed=0, segments=True)


def test_an_npz_file_holds_images_and_labels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    path = tmp_path / "a.npz"
    np.savez(path, images=pixels, labels=np.array([0, 1, 0, 1, 0, 1]), classes=np.array(["cat", "dog"]))
    images = open_labelled(str(path))
    assert images.classes == ("cat", "dog")
    assert np.array_equal(np.asarray(images[3].picture), pixels[3])
    np.savez(path, images=pixels)
    with pytest.raises(BadOption, match="training takes 'images' and 'labels'"):
        open_labelled(str(path))
    path.write_bytes(b"no zip")
    with pytest.raises(ImagesError, match="cannot be read"):
        open_labelled(str(path))
    with pytest.raises(ImagesError, match="no file"):
        open_labelled(str(tmp_path / "none.npz"))
