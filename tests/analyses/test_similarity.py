"""Similarity: what CKA must be by identity, by an independent formula on the same features, and on the untrained twin."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from key_number_names import NAMES
from microtome import testing
from microtome.analyses.similarity import Similarity
from microtome.errors import Unmeasurable
from microtome.instruments import image_pairs
from microtome.scan import Pace

PACE = Pace(batch=20, device="cpu")


def explicit_hsic(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased HSIC of Song et al. 2012 written out with explicit sums: slow and obvious."""
    n = len(a)
    k, m = a @ a.T, b @ b.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    one = np.ones(n)
    return (np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ m @ one) / (
        n * (n - 3)
    )


def explicit_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased CKA by that formula."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    return explicit_hsic(x, y) / np.sqrt(explicit_hsic(x, x) * explicit_hsic(y, y))


def test_agrees_with_the_formula_on_the_same_features(net: mt.Specimen, pics: mt.Images) -> None:
    twenty = pics.take(range(20))
    found = Similarity()(net, twenty, PACE)
    seen = features_by_layer(net, twenty)
    assert list(seen) == ["blocks.0", "blocks.1", "blocks.2"]
    for one, left in seen.items():
        for other, right in seen.items():
            assert found["cka"].sel(layer=one, layer_=other).item() == pytest.approx(explicit_cka(left, right), abs=1e-5)


def features_by_layer(net: mt.Specimen, images: mt.Images) -> dict[str, np.ndarray]:
    x = net.recipe.normalise(torch.from_numpy(images.pixels(net.recipe)))
    seen: dict[str, np.ndarray] = {}
    with torch.no_grad():
        value = torch.relu(net.net.stem(x))
        for place, block in enumerate(net.net.blocks):
            value = block(value)
            seen[f"blocks.{place}"] = value.flatten(1).numpy()
    return seen


def test_all_pairs_in_any_order_and_batch(net: mt.Specimen, tmp_path: Path) -> None:
    """70 files in class folders, their names turned round: the same values, and those of NumPy on all images at once."""
    scenes = mt.Images.scenes(70, seed=8, size=32)
    for item, label in zip(scenes, np.asarray(scenes.labels), strict=True):
        for folder, name in (("one", item.name), ("two", f"z{item.name[::-1]}")):
            (tmp_path / folder / f"c{label}").mkdir(parents=True, exist_ok=True)
            item.picture.save(tmp_path / folder / f"c{label}" / f"{name}.png")
    one, two = (mt.Images.folder(tmp_path / folder, masks="none") for folder in ("one", "two"))
    assert [Path(name).parent for name in one.names] == [Path(name).parent for name in two.names] and one.names != two.names
    found, renamed = Similarity()(net, one, Pace(batch=32, device="cpu")), Similarity()(net, two, Pace(batch=32, device="cpu"))
    other = Similarity()(net, one.take(np.arange(70)[::-1]), Pace(batch=9, device="cpu"))
    for name in ("cka", "cka_error", "step", "step_low", "step_high", "twin_cka", "twin_cka_low"):
        np.testing.assert_array_equal(renamed[name].values, found[name].values)  # to the bit: the same batches
        np.testing.assert_allclose(other[name].values, found[name].values, rtol=1e-5)
    assert renamed["against_twins"].values.tolist() == found["against_twins"].values.tolist()
    seen = features_by_layer(net, one)
    for first, left in seen.items():
        for second, right in seen.items():
            assert found["cka"].sel(layer=first, layer_=second).item() == pytest.approx(explicit_cka(left, right), abs=1e-5)
    smallest = found.key("smallest CKA of neighbouring layers")
    assert smallest.value == found["step"].min().item() and smallest.low < smallest.value < smallest.high <= 1
    assert smallest.baseline == found["twin_step"].sel(pair=smallest.at).item()
    np.testing.assert_allclose(found["each_twin_step"].mean("twin").values, found["twin_step"].values, rtol=1e-12)
    assert found["each_twin_step"].sizes["twin"] == 5
    assert (
        found.key("CKA of the first and the last layer").value == found["cka"].sel(layer="blocks.0", layer_="blocks.2").item()
    )
    assert found.key("images").value == 70


def test_few_images_give_no_interval_and_no_verdict(net: mt.Specimen, pics: mt.Images) -> None:
    found = Similarity()(net, pics, PACE)
    assert np.isfinite(found["cka"].values).all() and np.isnan(found["step_low"].values).all()
    assert found.facts["no_verdict"].startswith("fewer than 64 images") and set(found["against_twins"].values) == {"no verdict"}
    assert np.isnan(found.key("neighbours more similar than in all untrained twins").value)
    assert any(line.startswith("No interval: fewer than 64 images") for line in found.caveats)


def test_beyond_memory_random_batches_are_summed(net: mt.Specimen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches in the order by content; sums of HSIC, by images, before the ratio (Nguyen et al. 2021, eq. 3); the last 2 left out."""
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", 0)
    images = mt.Images.scenes(82, seed=9, size=32)
    found = Similarity()(net, images, PACE)
    assert found["count"].values[0] == 80 and any("2 images of the last batch left out" in line for line in found.caveats)
    assert any("batches are random samples" in line for line in found.caveats)
    seen = features_by_layer(net, images.take(images.content_order()))

    def hsic(first: str, second: str) -> float:
        batches = [slice(start, start + 20) for start in range(0, 80, 20)]
        return sum(explicit_hsic(seen[first][part].astype(float), seen[second][part].astype(float)) for part in batches)

    expected = hsic("blocks.0", "blocks.2") / np.sqrt(hsic("blocks.0", "blocks.0") * hsic("blocks.2", "blocks.2"))
    assert found["cka"].sel(layer="blocks.0", layer_="blocks.2").item() == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(found["step_low"].values).all()
    shuffled = Similarity()(net, images.take(np.random.default_rng(0).permutation(82)), PACE)
    np.testing.assert_array_equal(shuffled["cka"].values, found["cka"].values)
    two = Similarity()(net, images, Pace(batch=41, device="cpu"))  # two batches: no interval
    assert np.isnan(two["step_low"].values).all() and "fewer than 3 batches" in two.facts["no_interval"]


def test_layers_that_never_vary_have_no_number(tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    still = tiny()
    for parameter in still.parameters():
        nn.init.zeros_(parameter)
    found = Similarity()(mt.open(still, recipe={"size": 32}), pics, PACE)
    assert np.isnan(found.key("smallest CKA of neighbouring layers").value)
    assert [number.name for number in found.key_numbers] == list(NAMES["similarity"])
    assert found.headline == "No layer varies between these 40 images, so there is nothing to compare."


def test_idle_block_is_the_same_as_its_input(tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    idle = mt.open(tiny(scales=(1.0, 0.0, 1.0)), recipe={"size": 32})
    found = Similarity()(idle, pics, PACE)
    assert found["cka"].sel(layer="blocks.0", layer_="blocks.1").item() == pytest.approx(1.0, abs=1e-9)


def test_too_few(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(Unmeasurable, match="at least 4 images"):
        Similarity()(net, pics.take(range(3)), PACE)
    with pytest.raises(Unmeasurable, match="at least two layers"):
        Similarity(at=("stem",))(net, pics, PACE)


def test_an_untrained_network_is_no_finding() -> None:
    """Against its own kind of twins an untrained network is called apart at few steps: nominally one in twenty."""
    plain = mt.open("timm:resnet18", weights=None, zero_init_last=False, recipe={"size": 32})
    found = Similarity()(plain, mt.Images.scenes(64, seed=5, size=32), Pace(batch=32, device="cpu"))
    assert found.facts["no_verdict"] == ""
    assert (found["against_twins"].values != "within the twins' range").sum() <= len(found["step"]) // 4


@pytest.mark.parametrize("memory", [512 << 20, 0])
def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", memory)
    finding = testing.check(Similarity(), net, pics, tmp_path)
    assert {"cka", "twin_cka", "step"} <= set(finding.arrays)


@pytest.mark.parametrize("memory", [512 << 20, 0])
def test_shards_merge(net: mt.Specimen, pics: mt.Images, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", memory)
    whole = Similarity().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu"))
    merged = testing.merge_shards(Similarity(), net, pics)
    np.testing.assert_allclose(merged["cka"].values, whole.arrays["cka"].values, rtol=1e-12)
