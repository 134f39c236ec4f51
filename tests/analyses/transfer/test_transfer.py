"""Transfer: layers that know everything and nothing, one pass shared, twins, few images, heads with and without classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.transfer import Transfer
from microtome.errors import Unmeasurable
from microtome.numerics.transferability.evidence import logme
from microtome.scan import Pace

PACE = Pace(batch=16, device="cpu")


class Features(nn.Module):
    """The image itself, then a layer that knows nothing of it, then a head (or none)."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.blind = nn.Conv2d(3, 4, 1)
        self.head = head
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3)[:, :, None, None])
            self.blind.weight.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blind(self.same(x)).mean((2, 3)))


def coloured(count: int = 60, classes: int = 3) -> mt.Images:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    x = random.uniform(0, 0.3, (count, 3, 8, 8)).astype(np.float32)
    x[np.arange(count), labels % 3] += 0.5 * random.uniform(0.8, 1.2, (count, 1, 1)).astype(np.float32)
    return mt.Images.tensors(x, labels=labels, classes=[f"c{n}" for n in range(classes)])


def opened(head: nn.Module | None = None) -> mt.Specimen:
    return mt.open(Features(head or nn.Linear(4, 5)).eval(), recipe={"size": 8, "crop": 1.0})


def test_a_layer_that_knows_all_and_one_that_knows_nothing() -> None:
    found = Transfer(at=("same", "blind"))(opened(), coloured(), PACE)
    for name in ("logme", "gbc", "parc", "h_score", "nearest", "ridge"):
        same, blind = found[name].sel(layer="same").item(), found[name].sel(layer="blind").item()
        assert not same <= blind, name
    assert found["ridge"].sel(layer="same").item() == 1.0
    assert found.key("LogME").at == "same"
    low, value, high = (found[f"logme{end}"].sel(layer="same").item() for end in ("_low", "", "_high"))
    assert low < value < high
    assert found["gbc_high"].sel(layer="same").item() <= 0.0


def test_scores_are_those_of_the_pooled_features() -> None:
    images = coloured()
    net = opened()
    found = Transfer(at=("same",))(net, images, PACE)
    x = net.recipe.normalise(torch.from_numpy(images.pixels(net.recipe)))
    with torch.no_grad():
        features = net.net.same(x).double().mean((2, 3)).numpy()
    assert images.labels is not None
    assert found["logme"].item() == pytest.approx(logme(features, images.labels), abs=1e-4)


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    testing.check(Transfer(), net, mt.Images.scenes(60, seed=5, size=32), tmp_path)


def test_untrained_twins_see_the_same_images(tiny: Callable[..., nn.Module]) -> None:
    """An untrained network is within the range of its twins: no layer is called better than random weights."""
    many = mt.Images.scenes(140, seed=1, size=32)
    net = mt.open(tiny(), recipe={"size": 32})
    found = Transfer(at=("blocks.*",))(net, many, Pace(batch=32, device="cpu"))
    assert found["count"].values.tolist() == [140, 64]
    assert np.isfinite(found["twin_logme"].values).all()
    assert not (found["against_twins"].values == "above all twins").any()
    assert any("training is not shown to help" in caveat for caveat in found.caveats) or found.trained is None


def test_logistic_only_if_asked() -> None:
    plain = Transfer(at=("same",))(opened(), coloured(), PACE)
    more = Transfer(at=("same",), logistic=True)(opened(), coloured(), PACE)
    assert "logistic" not in plain.arrays and more["logistic"].item() == 1.0


def test_a_network_without_classes_has_neither_leep_nor_nce() -> None:
    found = Transfer(at=("same",))(opened(nn.LayerNorm(4)), coloured(), PACE)
    assert np.isnan(found["own_classes"].values).all()
    assert any(caveat.startswith("Not measured: LEEP and NCE, since it has no head") for caveat in found.caveats)
    assert "LEEP" not in [number.name for number in found.key_numbers]


def test_fewer_images_of_a_class_than_folds_leave_the_scores() -> None:
    found = Transfer(at=("same",), folds=50)(opened(), coloured(12), PACE)
    assert np.isfinite(found["logme"].item()) and np.isnan(found["ridge"].item())
    assert any("k-NN" in caveat and "one for every fold" in caveat for caveat in found.caveats)
    assert "ridge" not in found.headline


def test_classes_of_one_image_are_left_out_or_refused() -> None:
    images = coloured(20, classes=3)
    assert images.labels is not None
    labels = np.where(np.arange(20) == 2, 2, np.arange(20) % 2)
    some = mt.Images.tensors(images.pixels(opened().recipe), labels=labels, classes=("a", "b", "c"))
    found = Transfer(at=("same",))(opened(), some, PACE)
    assert found.facts["left_out"] == 1 and found["count"].values[0] == 19
    lone = mt.Images.tensors(np.zeros((6, 3, 8, 8), np.float32), labels=np.arange(6), classes=list("abcdef"))
    with pytest.raises(Unmeasurable, match="at least 2 images each; here there are 6 classes, the largest with 1"):
        Transfer(at=("same",))(opened(), lone, PACE)
    single = mt.Images.tensors(np.zeros((6, 3, 8, 8), np.float32), labels=np.zeros(6, int), classes=["a"])
    with pytest.raises(Unmeasurable, match="there are 1 class, the largest with 6|1 class"):
        Transfer(at=("same",))(opened(), single, PACE)


def test_at_most_count_images_are_scored() -> None:
    found = Transfer(at=("same",), count=30)(opened(), coloured(60), PACE)
    assert found["count"].values[0] == 30
    assert found.facts["left_out"] == 30
    assert found.facts["smallest_class"] == 10


def test_what_misleads_is_named() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 64, 8)
            self.head = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.wide(x).flatten(1))

    torch.manual_seed(0)
    found = Transfer(at=("wide",))(mt.open(Wide().eval(), recipe={"size": 8, "crop": 1.0}), coloured(24), PACE)
    text = " ".join(found.caveats)
    assert "TransRate is misleading" in text and "(wide)" in text
    assert "the smallest here has 8 images" in text
    assert "LEEP and NCE compare only networks with many more classes" in text
