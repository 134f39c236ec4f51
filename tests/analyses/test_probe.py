"""Probe: scikit-learn on the same folds, features that know everything, features that know nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.probe import Probe
from microtome.errors import Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=16, device="cpu")


class Colours(nn.Module):
    """Two layers: the image itself, then noise that knows nothing of it."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.blind = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3)[:, :, None, None])
            self.blind.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blind(self.same(x)).mean((2, 3)))


def coloured(count: int = 60) -> mt.Images:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    x = random.uniform(0, 0.3, (count, 3, 8, 8)).astype(np.float32)
    x[np.arange(count), labels] += 0.5
    return mt.Images.tensors(x, labels=labels, classes=("r", "g", "b"))


def test_what_a_layer_knows() -> None:
    net = mt.open(Colours().eval(), recipe={"size": 8, "crop": 1.0})
    found = Probe(at=("same", "blind"))(net, coloured(), PACE)
    assert found["accuracy"].sel(layer="same").item() == 1.0
    assert found["accuracy"].sel(layer="blind").item() <= 0.5  # constant features: a guess at best
    assert found["chance"].values[0] == pytest.approx(1 / 3)
    best = found.key("best probe accuracy")
    assert (best.value, best.at, best.baseline) == (1.0, "same", pytest.approx(1 / 3))
    assert best.low == found["accuracy_low"].sel(layer="same").item()
    assert found.key("images").value == 60


def test_agrees_with_scikit_learn(net: mt.Specimen) -> None:
    """The same pooled features, folds and penalties through RidgeClassifier give the same answers on at least 95% of images."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    from microtome.numerics.probes.ridge import ridge_probe, stratified_folds

    pics = mt.Images.scenes(60, seed=5, size=32)
    found = Probe(at=("blocks.2",))(net, pics, PACE)
    with torch.no_grad():
        x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe)))
        features = net.net.blocks(torch.relu(net.net.stem(x))).double().mean((2, 3)).numpy()
    assert pics.labels is not None
    fold = stratified_folds(pics.labels, 5, 0)
    chosen = ridge_probe(features, pics.labels, 5, 0).penalties
    right = np.zeros(len(pics), bool)
    for one in range(5):
        scale = StandardScaler().fit(features[fold != one])
        model = RidgeClassifier(alpha=chosen[one]).fit(scale.transform(features[fold != one]), pics.labels[fold != one])
        right[fold == one] = model.predict(scale.transform(features[fold == one])) == pics.labels[fold == one]
    assert (right == found["correct"].values[0].astype(bool)).mean() >= 0.95


def test_too_few(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(Unmeasurable, match="two classes of at least 5 images each.*largest class has 1"):
        Probe()(net, pics.take(range(6)), PACE)


def test_one_image_a_class_is_refused_though_many_in_all(net: mt.Specimen) -> None:
    """A probe that never sees a held-out image's class is right on none: that is no finding about the network."""
    lone = mt.Images.tensors(np.zeros((30, 3, 32, 32), np.float32), labels=np.arange(30), classes=[str(n) for n in range(30)])
    with pytest.raises(Unmeasurable, match="largest class has 1"):
        Probe()(net, lone, PACE)


def test_rare_classes_are_left_out_and_counted(net: mt.Specimen) -> None:
    random = np.random.default_rng(0)
    labels = np.array([0] * 10 + [1] * 10 + [2] * 2)
    images = mt.Images.tensors(random.uniform(size=(22, 3, 32, 32)).astype(np.float32), labels=labels, classes=("a", "b", "c"))
    found = Probe(at=("blocks.2",))(net, images, PACE)
    assert found["count"].values[0] == 20
    assert found.facts["left_out"] == 2
    assert np.isnan(found["correct"].values[0, 20:]).all()


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    pics = mt.Images.scenes(60, seed=5, size=32)
    testing.check(Probe(), net, pics, tmp_path)


def test_twin_sees_few_images_of_all_classes(tiny: Callable[..., nn.Module]) -> None:
    """Beyond 64 images each twin sees 64, of each class in proportion, and the network's own probe on those stands beside it."""
    many = mt.Images.scenes(140, seed=1, size=32)
    found = Probe(at=("blocks.2",))(mt.open(tiny(), recipe={"size": 32}), many, Pace(batch=32, device="cpu"))
    assert found["count"].values.tolist() == [140, 64]
    assert np.isfinite(found["accuracy_few"].values).all()
    fair = found.key("probe accuracy on the twins' images")
    assert (fair.value, fair.baseline) == (found["accuracy_few"].item(), found["twin_accuracy"].item())
    assert "on 64 of the 140 images" in found.headline


def test_logistic_stands_beside_ridge_on_the_same_images() -> None:
    net = mt.open(Colours().eval(), recipe={"size": 8, "crop": 1.0})
    images = coloured()
    found = Probe(at=("same", "blind"), logistic=True)(net, images, PACE)
    assert found["logistic"].sel(layer="same").item() == 1.0
    assert found["logistic"].sel(layer="blind").item() <= 0.5
    plain = Probe(at=("same", "blind"))(net, images, PACE)
    assert "logistic" not in plain.arrays
    testing.check_equal(plain.arrays, {name: found[name] for name in plain.arrays}, "with and without")
    assert found.key("logistic probe accuracy").value == 1.0
    assert "logistic probe accuracy" not in [number.name for number in plain.key_numbers]
    assert "logistic" in found.panels[1].columns  # type: ignore[attr-defined]


def test_a_new_head_needs_one_image_a_class_where_the_features_are_the_classes() -> None:
    net = mt.open(Colours().eval(), recipe={"size": 8, "crop": 1.0})
    found = Probe(at=("same",), per_class=(8, 1))(net, coloured(), PACE)
    assert found["head"].amount.values.tolist() == [1, 8]
    assert found["head"].values[1] == 1.0
    assert found["head"].values[0] > 2 * found["chance_head"].values[0]
    blind = Probe(at=("blind",))(net, coloured(), PACE)
    assert blind["head"].amount.values.tolist() == [2, 4, 8, 16]  # of 20 images a class 16 are left to learn from
    assert (blind["head"].values <= 0.5).all()
    with pytest.raises(Unmeasurable, match="17 images a class: with 5 parts the rarest class leaves 16"):
        Probe(at=("same",), per_class=(17,))(net, coloured(), PACE)


def test_where_the_twin_has_too_few_images_its_head_is_unknown(tiny: Callable[..., nn.Module]) -> None:
    many = mt.Images.scenes(200, seed=1, size=32)
    found = Probe(at=("blocks.2",))(mt.open(tiny(), recipe={"size": 32}), many, Pace(batch=50, device="cpu"))
    assert found["head"].amount.values.tolist() == [2, 4, 8, 16]
    assert np.isfinite(found["twin_head"].values[:2]).all()  # of 64 images, six or seven a class
    assert np.isnan(found["twin_head"].values[2:]).all()
    head = found.key("new head accuracy")
    assert (head.value, head.at) == (found["head"][0].item(), "2 images per class")
    assert "nan" not in found.headline


def test_imbalanced_classes_lead_with_balanced_accuracy(tmp_path: Path) -> None:
    """40 images of one class and 10 of each other, read from noisy colours: scikit-learn's score of the very same answers."""
    from sklearn.metrics import recall_score

    random = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [40, 10, 10])
    x = random.uniform(0, 0.6, (60, 3, 8, 8)).mean((2, 3), keepdims=True) + random.normal(0, 0.1, (60, 3, 1, 1))
    x[np.arange(60), labels] += 0.12
    images = mt.Images.tensors(
        np.broadcast_to(x, (60, 3, 8, 8)).clip(0, 1).astype(np.float32), labels=labels, classes=("r", "g", "b")
    )
    net = mt.open(Colours().eval(), recipe={"size": 8, "crop": 1.0})
    found = Probe(at=("same", "blind"))(net, images, PACE)
    testing.check_finding(found, tmp_path)
    leading = found.key_numbers[0]
    assert (leading.name, leading.at, leading.baseline) == ("best balanced probe accuracy", "same", pytest.approx(1 / 3))
    right = found["correct"].sel(layer="same").values.astype(int)
    assert leading.value == pytest.approx(
        np.mean([recall_score(np.ones(n), right[labels == c]) for c, n in ((0, 40), (1, 10), (2, 10))])
    )
    assert leading.value < found.key("best probe accuracy").value
    assert "balanced accuracy" in found.headline
    assert found["label"].values.tolist() == labels.tolist()
