"""Answers to validation images: accuracy and loss by hand, for images and for pixels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import microtome as mt
from microtome.training.data import open_training_data
from microtome.training.recipe import DataChoice
from microtome.training.validating import Answers, answer_images


def test_answers_are_those_of_the_network_in_eval_mode(tmp_path: Path) -> None:
    specimen = mt.open("tiny_trainables:conv_net", None, recipe={"size": 16, "crop": 1.0})
    data = open_training_data(DataChoice(images="scenes:20,size=16", validation_fraction=0.5), 0).training
    answers = answer_images(specimen, data, 4, torch.contiguous_format, torch.no_grad)
    x = specimen.recipe.normalise(torch.from_numpy(data.inputs(specimen.recipe, np.arange(len(data)))))
    scores = specimen.net.eval()(x).detach()
    assert np.array_equal(answers.predicted, scores.argmax(1).numpy())
    assert answers.loss == pytest.approx(float(functional.cross_entropy(scores, torch.from_numpy(data.labels))), rel=1e-5)
    assert answers.accuracy == float((scores.argmax(1).numpy() == data.labels).mean())
    answers.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert np.array_equal(file["predicted"], answers.predicted)
        assert np.array_equal(file["label"], data.labels)


def test_pixels_are_counted_by_class() -> None:
    specimen = mt.open("tiny_trainables:map_net", None, recipe={"size": 16, "crop": 1.0}, num_classes=11)
    data = open_training_data(DataChoice(images="scenes:10,size=16"), 0, segments=True).training
    answers = answer_images(specimen, data, 4, torch.contiguous_format, torch.no_grad)
    places = np.arange(len(data))
    x = specimen.recipe.normalise(torch.from_numpy(data.inputs(specimen.recipe, places)))
    predicted = specimen.net(x).argmax(1).numpy()
    assert answers.accuracy == pytest.approx(float((predicted == data.targets(specimen.recipe, places)).mean()))
    assert answers.confusion is not None
    assert answers.confusion.sum() == len(data) * 16 * 16
    assert 0 <= answers.mean_iou <= 1  # type: ignore[operator]


def test_mean_iou_by_hand() -> None:
    confusion = np.array([[[6, 2], [1, 3]]])  # IoU 6/9 and 3/6
    answers = Answers(0.0, np.zeros(1, np.int64), np.zeros(1, np.int64), confusion)
    assert answers.accuracy == 9 / 12
    assert answers.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)
