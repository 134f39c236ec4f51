"""Images as a whole: tensors, scenes, choosing, pixels through a recipe, batches made ahead."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from microtome.errors import BadOption, ImagesError
from microtome.images import Images

Write = Callable[..., Path]


def bytes_of(count: int = 4, rows: int = 8, cols: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, rows, cols, 3), np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x,
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: torch.from_numpy(x),
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2),
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255,
        lambda x: torch.from_numpy(x).permute(0, 3, 1, 2).double().requires_grad_() / 255,
        lambda x: (x.transpose(0, 3, 1, 2) / 255).astype(np.float32),
    ],
)
def test_tensors_of_every_layout(given: Callable, recipe) -> None:
    x = bytes_of()
    found = Images.tensors(given(x))
    assert np.array_equal(found.pixels(recipe), x)
    assert found.digest() == Images.tensors(x).digest()
    assert found.names == ("0", "1", "2", "3")
    assert found.labels is None


def test_half_precision_and_one_channel(recipe) -> None:
    grey = Images.tensors(torch.full((2, 1, 8, 8), 0.5, dtype=torch.bfloat16))
    assert (grey.pixels(recipe) == 128).all()


def test_tensors_keep_no_hold_on_what_was_given(recipe) -> None:
    x = bytes_of()
    found = Images.tensors(x)
    before = found.digest()
    x[:] = 0
    assert found.digest() == before
    assert found.pixels(recipe).any()


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((3, 8, 8), np.float32), r"x\[None\] for one"),
        (np.zeros((0, 3, 8, 8), np.float32), "at least one image"),
        (np.zeros((2, 8, 8, 3), np.float32), r"second dimension should be 3.*x.permute\(0, 3, 1, 2\)"),
        (np.full((1, 3, 8, 8), np.nan), "192 values that are not finite"),
        (np.full((1, 3, 8, 8), 254.0), "looks like 0..255: divide by 255"),
        (np.full((1, 3, 8, 8), -2.0), "looks normalised"),
        (np.zeros((1, 3, 8, 8), np.int64), "holds int64"),
        (np.zeros((1, 5, 8, 8), complex), "holds complex128, not numbers"),
    ],
)
def test_tensors_that_will_not_do(x: np.ndarray, said: str) -> None:
    with pytest.raises(ImagesError, match=said) as caught:
        Images.tensors(x)
    assert "\n" not in str(caught.value)


def test_labels_and_masks_of_tensors(recipe) -> None:
    masks = np.zeros((4, 8, 8))
    masks[:, 2:4] = 1
    found = Images.tensors(bytes_of(), labels=torch.tensor([1, 0, -1, 1]), classes=["no", "yes"], masks=masks)
    assert found.classes == ("no", "yes")
    assert [item.label for item in found] == [1, 0, None, 1]
    assert np.array_equal(found.masks(recipe), masks > 0)
    assert found[0].facts["area"] == 0.25
    assert Images.tensors(bytes_of(), labels=[2, 0, 1, 1]).classes == ("0", "1", "2")
    for arguments, said in (
        ({"labels": [0, 1]}, "give 4 whole numbers"),
        ({"labels": [0, 1, 2, 0.5]}, "give 4 whole numbers"),
        ({"labels": [0, 1, 2, 0], "classes": ["a", "b"]}, "go from 0 to 2; for 2 classes"),
        ({"classes": ["a"]}, "classes were given without labels"),
        ({"masks": np.zeros((4, 8, 9))}, r"should be \(4, 8, 8\)"),
    ):
        with pytest.raises(ImagesError, match=said):
            Images.tensors(bytes_of(), **arguments)


def test_choosing() -> None:
    found = Images.tensors(bytes_of(10), labels=np.arange(10) % 2)
    some = found.take([7, 0, -1])
    assert some.names == ("7", "0", "9")
    assert some.labels.tolist() == [1, 0, 1]
    assert some.take([1]).names == ("0",)
    assert found.take(found.labels == 1).names == ("1", "3", "5", "7", "9")
    assert found.take([0, 1]).digest() != found.take([1, 0]).digest()
    assert found.take(range(10)).digest() == found.digest()
    assert found.limit(None) is found
    assert np.bincount(found.limit(4, seed=2).labels).tolist() == [2, 2]
    for wrong in ([10], [-11], [0.5], []):
        with pytest.raises(BadOption):
            found.take(wrong)
    with pytest.raises(IndexError):
        _ = found[10]


def test_facts_by_name() -> None:
    found = Images.scenes(3, size=32)
    assert found.facts("area").tolist() == [item.facts["area"] for item in found]
    assert found.facts("nonsense") is None


def test_what_is_given_out_does_not_change_what_is_kept(recipe) -> None:
    found = Images.tensors(bytes_of(2))
    found.pixels(recipe)[:] = 0
    found.take([0]).pixels(recipe)[:] = 0
    assert np.array_equal(found.pixels(recipe), bytes_of(2))


def test_facts_for_a_finding(written: Write, tmp_path: Path) -> None:
    written("set/cat/a.png")
    written("set/dog/b.png")
    found = Images.folder(tmp_path / "set")
    card = json.loads(json.dumps(found.json()))
    assert {key: card[key] for key in ("name", "kind", "count", "classes", "has_masks", "skipped")} == {
        "name": "set", "kind": "folder", "count": 2, "classes": ["cat", "dog"], "has_masks": False, "skipped": []
    }  # fmt: skip
    assert card["digest"] == found.digest()
    assert found.describe() == "set: 2 images, 2 classes"
    assert repr(found) == "<Images set: 2 images, 2 classes>"


def test_a_copy_in_another_process_is_the_same_set(written: Write, tmp_path: Path, recipe) -> None:
    written("a.png")
    written("a_mask.png", np.ones((4, 6), np.uint8))
    for found in (Images.folder(tmp_path), Images.scenes(3, size=16), Images.tensors(bytes_of())):
        found.pixels(recipe)
        copy = pickle.loads(pickle.dumps(found))
        assert copy.digest() == found.digest()
        assert np.array_equal(copy.pixels(recipe), found.pixels(recipe))


def test_order_and_sample_rest_on_contents_alone(tmp_path: Path) -> None:
    """Renamed and shuffled, the same pictures come in the same order; a sample takes of each class in proportion."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    labels = np.repeat([0, 1, 2], [40, 15, 5])
    images = Images.tensors(pixels, labels=labels.tolist(), classes=["a", "b", "c"])
    assert sorted(images.content_order().tolist()) == list(range(60)) and images.content_order().tolist() != list(range(60))
    turn = np.random.default_rng(1).permutation(60)
    shuffled = images.take(turn)
    np.testing.assert_array_equal(turn[shuffled.content_order()], images.content_order())
    sample = images.sample(12)
    assert np.bincount(labels[sample]).tolist() == [8, 3, 1] and (np.diff(sample) > 0).all()
    assert sorted(turn[shuffled.sample(12)].tolist()) == sample.tolist()
    assert images.sample(100).tolist() == list(range(60))
