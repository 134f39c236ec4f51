"""Robustness: networks whose answers can be written down, the sweeps by hand, twins that always answer the same, bad options."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.robustness import Robustness
from microtome.errors import BadOption, Unmeasurable
from microtome.images.corruptions import CORRUPTIONS, corrupt
from microtome.scan import Pace

PACE = Pace(batch=8, device="cpu")
SIZE = 16


class Brightest(nn.Module):
    """Says which channel is the brightest on average: contrast and colour scale change nothing of that."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Conv2d(3, 3, 1, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.same.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(50 * torch.eye(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.same(x).mean((2, 3)))


def coloured(count: int = 12) -> mt.Images:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    x = random.uniform(0.2, 0.5, (count, 3, SIZE, SIZE)).astype(np.float32)
    x[np.arange(count), labels] += 0.3
    return mt.Images.tensors(x, labels=labels, classes=("r", "g", "b"))


def opened(net: nn.Module | None = None) -> mt.Specimen:
    recipe = {"size": SIZE, "crop": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return mt.open((net or Brightest()).eval(), recipe=recipe, labels=["r", "g", "b"])


def test_a_network_that_only_compares_channels_survives_contrast() -> None:
    found = Robustness(
        at=("same",), corruptions=("contrast", "jpeg_compression"), severities=(1, 5), sweeps=("colour_scale", "contrast")
    )(opened(), coloured(), PACE)
    assert (found["accuracy"].sel(corruption="contrast").values == 1.0).all()
    assert (found["accuracy/colour_scale"].values == 1.0).all()
    assert found["clean"].sel(measure="accuracy").item() == 1.0
    contrast, jpeg = (found["drift"].sel(corruption=name).item() for name in ("contrast", "jpeg_compression"))
    assert contrast < 0.01 < jpeg  # contrast keeps the mean of each channel, which is all that this layer's features are


def test_drift_is_the_distance_moved_over_that_between_images() -> None:
    net, images = opened(), coloured()
    found = Robustness(at=("same",), corruptions=("gaussian_blur",), severities=(5,), sweeps=())(net, images, PACE)
    pixels = images.pixels(net.recipe)
    before = pixels.mean((1, 2)) / 255
    after = corrupt(pixels, "gaussian_blur", 5).mean((1, 2)) / 255
    pairs = np.triu_indices(12, 1)
    apart = np.linalg.norm(before[pairs[0]] - before[pairs[1]], axis=1).mean()
    expected = np.linalg.norm(after - before, axis=1).mean() / apart
    assert found["drift"].item() == pytest.approx(expected, rel=1e-4)


def test_accuracy_of_an_answer_is_that_of_a_plain_loop(net: mt.Specimen) -> None:
    images = mt.Images.scenes(12, seed=5, size=32)
    found = Robustness(corruptions=("fog", "snow"), severities=(2, 4), sweeps=(), count=12)(net, images, PACE)
    assert images.labels is not None
    for name in ("fog", "snow"):
        for severity in (2, 4):
            pixels = corrupt(images.pixels(net.recipe), name, severity)
            answer = net.run(net.recipe.normalise(torch.from_numpy(pixels))).argmax(1).numpy()
            clean = net.run(net.recipe.normalise(torch.from_numpy(images.pixels(net.recipe)))).argmax(1).numpy()
            at = {"corruption": name, "severity": severity}
            assert found["accuracy"].sel(at).item() == pytest.approx((answer == images.labels).mean())
            assert found["agreement"].sel(at).item() == pytest.approx((answer == clean).mean())


def test_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    kept = {"corruptions": ("gaussian_noise", "fog"), "severities": (1, 5), "sweeps": ("contrast", "size")}
    testing.check(Robustness(**kept, count=10), net, mt.Images.scenes(10, seed=5, size=32), tmp_path)


def test_a_network_that_always_gives_one_answer_keeps_it_and_so_may_twins() -> None:
    class Constant(Brightest):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.same(x).mean((2, 3)) * 0) + torch.tensor([1.0, 0.0, 0.0])

    found = Robustness(corruptions=("fog",), severities=(5,), sweeps=())(opened(Constant()), coloured(), PACE)
    assert found["agreement"].item() == 1.0 and found["accuracy"].item() == pytest.approx(1 / 3)
    assert found.facts["twin_classes"] == 1
    assert any("predicts one class for all images" in caveat for caveat in found.caveats)


def test_without_labels_the_clean_answer_is_the_measure(net: mt.Specimen) -> None:
    images = mt.Images.tensors(np.random.default_rng(0).random((6, 3, 32, 32)).astype(np.float32))
    found = Robustness(corruptions=("gaussian_noise",), severities=(5,), sweeps=())(net, images, PACE)
    assert np.isnan(found["accuracy"].item()) and np.isfinite(found["agreement"].item())
    assert found.key_numbers[0].name == "agreement under corruption"
    assert "Not measured: accuracy, since the images have no labels." in found.caveats
    assert "stays the same" in found.headline


def test_without_a_head_drift_is_left() -> None:
    class Headless(Brightest):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.same(x)

    recipe = {"size": SIZE, "crop": 1.0}
    found = Robustness(at=("same",), corruptions=("fog",), severities=(5,), sweeps=("contrast",))(
        mt.open(Headless().eval(), recipe=recipe), coloured(), PACE
    )
    assert [number.name for number in found.key_numbers] == ["drift of the last layer", "images"]
    assert found.headline.startswith("Corruption moves")
    with pytest.raises(Unmeasurable, match="drift is measured under corruptions: name one"):
        Robustness(corruptions=())(mt.open(Headless().eval(), recipe=recipe), coloured(), PACE)


def test_mce_takes_all_five_severities() -> None:
    whole = Robustness(corruptions=("fog", "saturate"), severities=(1, 2, 3, 4, 5), sweeps=())(opened(), coloured(), PACE)
    error = 1 - whole["accuracy"].sel(corruption="fog").mean().item()
    assert whole.key("mCE").value == pytest.approx(error / 0.819324)
    assert whole.key("mCE").at == "1 corruption"
    part = Robustness(corruptions=("fog",), severities=(1, 5), sweeps=())(opened(), coloured(), PACE)
    assert "mCE" not in [number.name for number in part.key_numbers]
    assert any("needs all five severities" in caveat for caveat in part.caveats)


def test_an_untrained_network_is_within_its_twins(tiny: Callable[..., nn.Module]) -> None:
    net = mt.open(tiny(), recipe={"size": 32})
    found = Robustness(at=("blocks.2",), corruptions=("gaussian_noise",), severities=(3,), sweeps=(), count=20)(
        net, mt.Images.scenes(20, seed=1, size=32), PACE
    )
    drift = found.key("drift of the last layer")
    assert 0.2 < drift.value / drift.baseline < 5


def test_a_norm_in_the_patch_embedding_keeps_every_answer_at_any_colour_scale() -> None:
    """The published repair, an identity: beside it the same network without the norm changes its answers."""
    images = mt.Images.scenes(12, seed=3)
    measure = Robustness(corruptions=(), sweeps=("colour_scale",), at=("last",), count=12)
    plain = measure(mt.open("microtome:mini_deit"), images, PACE, twins=0)["agreement/colour_scale"]
    normed = measure(mt.open("microtome:mini_deit", edits=["prelayernorm"]), images, PACE, twins=0)["agreement/colour_scale"]
    assert (normed.sel(amount=[0.5, 1.0, 2.0, 4.0, 8.0]).values == 1.0).all()
    assert plain.sel(amount=8.0).item() < 1.0


def test_bad_options_and_images() -> None:
    with pytest.raises(BadOption, match="option severities is 7; it takes 1 to 5"):
        Robustness(severities=(7,))(opened(), coloured(), PACE)
    with pytest.raises(BadOption, match="both empty"):
        Robustness(corruptions=(), sweeps=())(opened(), coloured(), PACE)
    with pytest.raises(BadOption, match="'gausian_noise'.*gaussian_noise"):
        Robustness(corruptions=("gausian_noise",))
    bands = mt.Images.tensors(np.zeros((4, 5, SIZE, SIZE), np.float32))
    five = mt.open(
        nn.Sequential(nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(784, 3)).eval(), recipe={"size": SIZE, "crop": 1.0}
    )
    with pytest.raises(Unmeasurable, match="8-bit images, and these are numbers in bands"):
        Robustness()(five, bands, PACE)


def test_every_corruption_is_an_option() -> None:
    assert set(Robustness(corruptions=tuple(CORRUPTIONS)).corruptions) == set(CORRUPTIONS)
