"""Accuracy: counts by hand, and no score where outputs and classes cannot be matched."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.accuracy import Accuracy
from microtome.errors import Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=16, device="cpu")


class Brightest(nn.Module):
    """Answers with the third of the image (top, middle, bottom) that is brightest."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.head = nn.AdaptiveAvgPool2d((3, 1)), nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(x).mean(1).flatten(1))


def bands(labels: list[int], bright: list[int], classes: tuple[str, ...]) -> mt.Images:
    x = np.zeros((len(labels), 3, 12, 12), np.float32)
    for place, third in enumerate(bright):
        x[place, :, 4 * third : 4 * third + 4] = 1.0
    return mt.Images.tensors(x, labels=labels, classes=classes)


def test_counts_by_hand() -> None:
    """Six images, four answered right; Clopper and Pearson's interval for 4 of 6 from tables: 0.2228 to 0.9567."""
    images = bands([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], ("a", "b", "c"))
    net = mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0})
    found = Accuracy()(net, images, PACE)
    assert found["overall"].sel(measure="top-1").item() == pytest.approx(4 / 6)
    assert found["overall_low"].sel(measure="top-1").item() == pytest.approx(0.2228, abs=5e-5)
    assert found["overall_high"].sel(measure="top-1").item() == pytest.approx(0.9567, abs=5e-5)
    assert found["overall"].sel(measure="chance").item() == pytest.approx(1 / 3)
    assert found["correct"].values.tolist() == [1, 0, 1, 1, 1, 0]
    assert found["by_class"].sel({"class": "b"}).item() == 1.0
    assert "on 6 images" in found.headline
    assert "by order" in found.facts["matched"]


def test_a_class_for_every_pixel_is_no_class_for_the_image() -> None:
    images = mt.Images.scenes(4, seed=0)
    net = mt.open("microtome:mini_deeplab", weights=None)
    assert "so no image is right or wrong" in Accuracy().refusal(net, images)
    assert Accuracy().refusal(mt.open("microtome:mini_vgg", weights=None), images) == ""
    with pytest.raises(Unmeasurable, match="no single score for each class"):
        Accuracy()(net, images, PACE)


def test_unknown_labels_are_left_out() -> None:
    images = bands([0, -1, 1, 2], [0, 1, 1, 2], ("a", "b", "c"))
    found = Accuracy()(mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0}), images, PACE)
    assert found.key("top-1 accuracy").value == 1
    assert np.isnan(found["correct"].values[1])


def test_matched_by_name_whatever_the_order() -> None:
    images = bands([0, 1, 2], [2, 0, 1], ("Low_one, floor", "upper", "MIDDLE part"))
    net = mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0}, labels=["upper", "middle part", "low one"])
    found = Accuracy()(net, images, PACE)
    assert "by class name" in found.facts["matched"]
    assert found.key("top-1 accuracy").value == 1


def test_other_classes_are_refused() -> None:
    images = bands([0, 1, 2], [2, 0, 1], ("cat", "dog", "cow"))
    net = mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0}, labels=["upper", "middle", "low"])
    with pytest.raises(Unmeasurable, match="no output for 3 of the 3 classes.*the probe can"):
        Accuracy()(net, images, PACE)


def test_another_number_of_classes_is_refused() -> None:
    images = bands([0, 1], [0, 1], ("cat", "dog"))
    with pytest.raises(Unmeasurable, match="3 outputs of unknown meaning"):
        Accuracy()(mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0}), images, PACE)


def test_no_labels(net: mt.Specimen) -> None:
    with pytest.raises(Unmeasurable, match="needs labelled images"):
        Accuracy()(net, mt.Images.tensors(np.zeros((4, 3, 8, 8), np.float32)), PACE)


def test_common_suite(tiny: Callable[..., nn.Module], pics: mt.Images, tmp_path: Path) -> None:
    assert pics.classes is not None
    named = mt.open(tiny(), recipe={"size": 32}, labels=list(pics.classes))
    testing.check(Accuracy(), named, pics, tmp_path)


def test_imbalanced_classes_lead_with_balanced_accuracy() -> None:
    """24 of the first class all right, 4 and 4 of the others of which 1 and 2 are: 27 of 32, but (1 + 1/4 + 2/4) / 3 by class."""
    from sklearn.metrics import balanced_accuracy_score

    labels = [0] * 24 + [1] * 4 + [2] * 4
    answers = [0] * 24 + [1, 0, 0, 0] + [2, 2, 0, 0]
    net = mt.open(Brightest().eval(), recipe={"size": 12, "crop": 1.0})
    found = Accuracy()(net, bands(labels, answers, ("top", "middle", "bottom")), PACE)
    leading = found.key_numbers[0]
    assert (leading.name, leading.baseline) == ("balanced accuracy", pytest.approx(1 / 3))
    assert leading.value == pytest.approx(balanced_accuracy_score(labels, answers)) == pytest.approx(7 / 12)
    assert found.key("top-1 accuracy").value == pytest.approx(27 / 32)
    assert found.headline.startswith("Balanced accuracy 58.3%") and "largest class 6 times the smallest" in found.headline
    assert found["label"].values.tolist() == labels
    even = Accuracy()(net, bands([0, 1, 2] * 4, [0, 1, 2] * 4, ("top", "middle", "bottom")), PACE)
    assert even.key_numbers[0].name == "top-1 accuracy" and even.headline.startswith("Top-1")
