"""Similarity: what CKA must be by identity, by an independent formula on the same features, and on the untrained twin."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.similarity import Similarity
from microtome.errors import Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=20, device="cpu")


def explicit_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased CKA by the formula of Song et al. 2012 written out with explicit sums: slow and obvious."""

    def hsic(a: np.ndarray, b: np.ndarray) -> float:
        n = len(a)
        k, m = a @ a.T, b @ b.T
        np.fill_diagonal(k, 0)
        np.fill_diagonal(m, 0)
        one = np.ones(n)
        return (np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * one @ k @ m @ one) / (
            n * (n - 3)
        )

    x, y = x.astype(np.float64), y.astype(np.float64)
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def test_agrees_with_the_formula_on_the_same_features(net: mt.Specimen, pics: mt.Images) -> None:
    twenty = pics.take(range(20))
    found = Similarity()(net, twenty, PACE)
    x = net.recipe.normalise(torch.from_numpy(twenty.pixels(net.recipe)))
    seen: dict[str, np.ndarray] = {}
    with torch.no_grad():
        value = torch.relu(net.net.stem(x))
        for place, block in enumerate(net.net.blocks):
            value = block(value)
            seen[f"blocks.{place}"] = value.flatten(1).numpy()
    assert list(seen) == ["blocks.0", "blocks.1", "blocks.2"]
    for one, left in seen.items():
        for other, right in seen.items():
            assert found["cka"].sel(layer=one, layer_=other).item() == pytest.approx(explicit_cka(left, right), abs=1e-5)


def test_sums_over_batches_by_hand(net: mt.Specimen, pics: mt.Images) -> None:
    """Two batches of 20: the sums of HSIC are added before the ratio is taken (Nguyen et al. 2021, eq. 3)."""
    both = Similarity()(net, pics, PACE)
    assert both["count"].values[0] == 40
    np.testing.assert_allclose(np.diagonal(both["cka"].values), 1.0, atol=1e-12)
    np.testing.assert_allclose(both["cka"].values, both["cka"].values.T, atol=1e-12)
    assert np.isfinite(both["cka_error"].values).all()
    smallest = both.key("smallest CKA of neighbouring layers")
    assert smallest.value == both["step"].min().item() and smallest.low < smallest.value < smallest.high
    assert smallest.baseline == both["twin_step"].sel(pair=smallest.at).item()
    assert both.key("CKA of the first and the last layer").value == both["cka"].sel(layer="blocks.0", layer_="blocks.2").item()
    assert both.key("images").value == 40


def test_layers_that_never_vary_have_no_number(tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    still = tiny()
    for parameter in still.parameters():
        nn.init.zeros_(parameter)
    found = Similarity()(mt.open(still, recipe={"size": 32}), pics, PACE)
    assert np.isnan(found.key("smallest CKA of neighbouring layers").value)
    assert found.headline == "No layer varies between these 40 images, so there is nothing to compare."


def test_idle_block_is_the_same_as_its_input(tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    idle = mt.open(tiny(scales=(1.0, 0.0, 1.0)), recipe={"size": 32})
    found = Similarity()(idle, pics, PACE)
    assert found["cka"].sel(layer="blocks.0", layer_="blocks.1").item() == pytest.approx(1.0, abs=1e-9)


def test_last_batch_too_short_is_left_out(net: mt.Specimen, pics: mt.Images) -> None:
    found = Similarity()(net, pics.take(range(22)), PACE)  # 20 + 2: the unbiased estimate needs 4
    assert found["count"].values[0] == 20


def test_too_few(net: mt.Specimen, pics: mt.Images) -> None:
    with pytest.raises(Unmeasurable, match="at least 4 images"):
        Similarity()(net, pics.take(range(3)), PACE)
    with pytest.raises(Unmeasurable, match="at least two layers"):
        Similarity(at=("stem",))(net, pics, PACE)


def test_an_untrained_network_is_no_finding(pics: mt.Images) -> None:
    """Against its own kind of twins an untrained network is called apart at few steps: nominally one in twenty."""
    plain = mt.open("timm:resnet18", weights=None, zero_init_last=False, recipe={"size": 64})
    found = Similarity()(plain, pics, PACE)
    assert (found["against_twins"].values != "within the twins' range").sum() <= len(found["step"]) // 4


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Similarity(), net, pics, tmp_path)
    assert {"cka", "twin_cka", "step"} <= set(finding.arrays)


def test_shards_merge(net: mt.Specimen, pics: mt.Images) -> None:
    whole = Similarity().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu"))
    merged = testing.merge_shards(Similarity(), net, pics)
    np.testing.assert_allclose(merged["cka"].values, whole.arrays["cka"].values, rtol=1e-12)
