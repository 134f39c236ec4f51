"""Cross-similarity: against debiased CKA by explicit sums in NumPy, all images at once, and where its value is known exactly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.cross_similarity import CrossSimilarity
from microtome.analyses.similarity import Similarity
from microtome.errors import SpecimenError, UnknownName, Unmeasurable
from microtome.instruments import image_pairs
from microtome.scan import Pace

PACE = Pace(batch=32, device="cpu")
RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}


def explicit_hsic(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. 2012 with explicit sums."""
    n, one = len(a), np.ones(len(a))
    k, m = a @ a.T, b @ b.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    middle = one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + middle - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))


def explicit_cka(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(np.float64), y.astype(np.float64)
    return explicit_hsic(x, y) / np.sqrt(explicit_hsic(x, x) * explicit_hsic(y, y))


class Plain(nn.Module):
    """Two convolutions of another width and stride than the tiny network's; `units` are those of the last layer."""

    def __init__(self, units: int = 5) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 5, stride=4)
        self.second = nn.Conv2d(6, units, 3)
        self.head = nn.Linear(units, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(x).tanh()).mean((2, 3)))


@pytest.fixture(scope="module")
def plain() -> mt.Specimen:
    """Its recipe has another size, another crop and other statistics than the tiny network's."""
    torch.manual_seed(3)
    return mt.open(Plain(), recipe={"size": 48, "mean": (0.4,) * 3, "std": (0.2,) * 3, "crop": 0.8})


def plain_features(specimen: mt.Specimen, images: mt.Images) -> dict[str, np.ndarray]:
    x = torch.from_numpy(images.pixels(specimen.recipe)).float().permute(0, 3, 1, 2) / 255
    x = (x - specimen.recipe.mean[0]) / specimen.recipe.std[0]
    with torch.no_grad():
        first = specimen.net.first(x)
        return {"first": first.flatten(1).numpy(), "second": specimen.net.second(first.tanh()).flatten(1).numpy()}


def tiny_features(specimen: mt.Specimen, images: mt.Images) -> dict[str, np.ndarray]:
    x = (torch.from_numpy(images.pixels(specimen.recipe)).float().permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    values: dict[str, np.ndarray] = {}
    with torch.no_grad():
        value = torch.relu(specimen.net.stem(x))
        for number, block in enumerate(specimen.net.blocks):
            value = block(value)
            values[f"blocks.{number}"] = value.flatten(1).numpy()
    return values


def test_two_networks_with_recipes_of_their_own_in_any_order_of_images(net: mt.Specimen, plain: mt.Specimen) -> None:
    images = mt.Images.scenes(70, seed=8, size=32)
    analysis = CrossSimilarity(to=plain, to_at=("first", "second"))
    finding = analysis(net, images, PACE)
    left, right = tiny_features(net, images), plain_features(plain, images)
    expected = np.array([[explicit_cka(one, other) for other in right.values()] for one in left.values()])
    np.testing.assert_allclose(finding["cka"].values, expected, atol=1e-5)
    assert finding["cka"].layer.values.tolist() == list(left) and finding["cka"].layer_.values.tolist() == list(right)
    turned = analysis(net, images.take(np.arange(70)[::-1]), Pace(batch=9, device="cpu"))
    np.testing.assert_allclose(turned["cka"].values, finding["cka"].values, rtol=1e-5)
    np.testing.assert_allclose(turned["cka_low"].values, finding["cka_low"].values, rtol=1e-4, atol=1e-5)

    assert finding["best"].values.tolist() == [list(right)[place] for place in expected.argmax(1)]
    assert finding["back"].values.tolist() == [list(left)[place] for place in expected.argmax(0)]
    np.testing.assert_allclose(finding["best_cka"].values, expected.max(1), atol=1e-5)
    np.testing.assert_allclose(finding["back_cka"].values, expected.max(0), atol=1e-5)
    assert (finding["best_low"].values < finding["best_cka"].values).all()
    assert (finding["best_cka"].values < finding["best_high"].values).all()
    last = finding.key("best match of the last layer")
    assert last.value == finding["best_cka"].values[-1] and last.baseline == finding["twin_best_cka"].values[-1]
    assert finding.key("CKA of the last layers").value == finding["cka"].values[-1, -1]
    assert plain.name in finding.headline and finding.facts["second"]["digest"] == plain.digest()


def test_the_other_way_round_is_the_transpose(net: mt.Specimen, plain: mt.Specimen, pics: mt.Images) -> None:
    there = CrossSimilarity(to=plain, to_at=("first", "second"))(net, pics, PACE, twins=2)
    back = CrossSimilarity(to=net, at=("first", "second"), to_at=("blocks",))(plain, pics, PACE, twins=2)
    np.testing.assert_allclose(back["cka"].values, there["cka"].values.T, rtol=1e-5)
    assert back["best"].values.tolist() == there["back"].values.tolist()


def test_a_network_and_itself(net: mt.Specimen, pics: mt.Images) -> None:
    """Every layer matches itself with CKA 1, and the matrix is that of `similarity`; as a finding it is refused."""
    with pytest.raises(Unmeasurable, match="is this network itself, with the same weights and recipe"):
        CrossSimilarity(to=net)(net, pics, PACE)
    arrays = CrossSimilarity(to=net).measure(net.on("cpu").with_twins(2), pics, PACE).arrays
    np.testing.assert_allclose(np.diagonal(arrays["cka"].values), 1.0, atol=1e-9)
    assert arrays["best"].values.tolist() == arrays["back"].values.tolist() == ["blocks.0", "blocks.1", "blocks.2"]
    alone = Similarity()(net, pics, PACE, twins=2)
    np.testing.assert_allclose(arrays["cka"].values, alone["cka"].values, rtol=1e-9)


class Turned(nn.Module):
    """Pooled colours of four quarters of the image, through one linear layer."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.last = nn.Linear(12, len(weight), bias=False)
        self.last.weight.data = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.pool(x).flatten(1))


def test_rotated_and_scaled_features_are_the_same(pics: mt.Images) -> None:
    rotation = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0]
    first, second = (mt.open(Turned(weight), recipe=RECIPE) for weight in (torch.eye(12), 3.7 * rotation))
    finding = CrossSimilarity(to=second, at=("last",))(first, pics, PACE, twins=2)
    assert finding["cka"].item() == pytest.approx(1.0, abs=1e-5)
    assert finding.key("best match of the last layer").at == "last → last"


def test_features_of_independent_pixels_are_unlike() -> None:
    """Noise images: one network sees the left half, the other the right half. Debiased CKA is 0, and the interval holds it."""
    noise = mt.Images.tensors(torch.rand(128, 3, 32, 32, generator=torch.Generator().manual_seed(4)))
    left, right = torch.zeros(6, 12), torch.zeros(6, 12)
    for unit in range(6):
        left[unit, 2 * unit], right[unit, 2 * unit + 1] = 1.0, 1.0  # quarters in the order row, col: even ones lie left
    first, second = (mt.open(Turned(weight), recipe=RECIPE) for weight in (left, right))
    finding = CrossSimilarity(to=second, at=("last",))(first, noise, PACE, twins=2)
    assert abs(finding["cka"].item()) < 0.05 and finding["cka_low"].item() < 0 < finding["cka_high"].item()


def test_checkpoints_of_one_network_and_their_twins(tiny: Callable[..., nn.Module], net: mt.Specimen) -> None:
    """The twins of both are drawn with different seeds: those of one architecture under one seed would be equal."""
    later = mt.open(tiny(seed=1), recipe=net.recipe.json())
    finding = CrossSimilarity(to=later)(net, mt.Images.scenes(64, seed=5, size=32), PACE, twins=2)
    assert (np.diagonal(finding["twin_cka_high"].values) < 1 - 1e-6).all()
    assert set(finding["against_twins"].values) <= {"below all twins", "within the twins' range", "above all twins"}


def test_options_name_what_is_wrong(net: mt.Specimen, plain: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(Unmeasurable, match="needs a second network; name it: to='SECOND'"):
        CrossSimilarity()(net, pics, PACE)
    with pytest.raises(Unmeasurable, match="at least 4 images and was given 3"):
        CrossSimilarity(to=plain)(net, pics.take(range(3)), PACE)
    with pytest.raises(UnknownName, match=r"Tiny: No layer is called 'blcks'\. Did you mean 'blocks'"):
        CrossSimilarity(to=plain, at=("blcks",), to_at=("first",))(net, pics, PACE)
    with pytest.raises(UnknownName, match=r"Plain: No layer is called 'frist'\. Did you mean 'first'"):
        CrossSimilarity(to=plain, to_at=("frist",))(net, pics, PACE)
    with pytest.raises((UnknownName, SpecimenError), match="resnet19"):
        CrossSimilarity(to="timm:resnet19")(net, pics, PACE)


def test_the_key_follows_the_second_network(net: mt.Specimen, plain: mt.Specimen, pics: mt.Images) -> None:
    torch.manual_seed(5)
    other = mt.open(Plain(), recipe=plain.recipe.json())
    keys = {CrossSimilarity(to=second).key(net, pics, "cpu") for second in (plain, other, plain)}
    assert len(keys) == 2
    assert CrossSimilarity(to=plain).options()["to"] == plain.name


def test_beyond_memory_pairs_within_batches(net: mt.Specimen, plain: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", 0)
    images = mt.Images.scenes(82, seed=9, size=32)
    finding = CrossSimilarity(to=plain, to_at=("second",))(net, images, Pace(batch=20, device="cpu"), twins=2)
    assert finding["count"].values[0] == 80 and any("2 images of the last batch left out" in line for line in finding.caveats)
    ordered = images.take(images.content_order())
    left, right = tiny_features(net, ordered)["blocks.1"], plain_features(plain, ordered)["second"]
    parts = [slice(start, start + 20) for start in range(0, 80, 20)]
    sums = [
        sum(explicit_hsic(one[part].astype(float), other[part].astype(float)) for part in parts)
        for one, other in ((left, right), (left, left), (right, right))
    ]
    expected = sums[0] / np.sqrt(sums[1] * sums[2])
    assert finding["cka"].sel(layer="blocks.1", layer_="second").item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("memory", [512 << 20, 0])
def test_common_suite(
    net: mt.Specimen, plain: mt.Specimen, pics: mt.Images, tmp_path: Path, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", memory)
    finding = testing.check(CrossSimilarity(to=plain, to_at=("first", "second")), net, pics, tmp_path)
    assert any(line.startswith("No interval: fewer than 64 images") for line in finding.caveats)
