"""Redundancy: a planted idle block is found first, an untrained network gives no evidence, numbers agree with plain code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.redundancy import Redundancy
from microtome.errors import Unmeasurable
from microtome.scan import Pace

PACE = Pace(batch=20, device="cpu")


def test_planted_idle_block_is_ranked_first(tiny: Callable[..., nn.Module], pics: mt.Images) -> None:
    net = mt.open(tiny(scales=(1.0, 0.0, 1.0)), recipe={"size": 32})
    found = Redundancy()(net, pics, PACE)
    assert found["influence"].sel(block="blocks.1").item() == pytest.approx(0.0, abs=1e-9)
    assert found["angle"].sel(block="blocks.1").item() == pytest.approx(0.0, abs=1e-6)
    assert found["cka"].sel(block="blocks.1").item() == pytest.approx(1.0, abs=1e-9)
    assert found["rank"].sel(block="blocks.1").item() == 1
    assert found["influence"].sel(block="blocks.0").item() > 0.001


def test_influence_is_one_minus_the_mean_cosine(net: mt.Specimen, pics: mt.Images) -> None:
    found = Redundancy()(net, pics, PACE)
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe)))
    with torch.no_grad():
        before = torch.relu(net.net.stem(x))
        after = net.net.blocks[0](before)
    cosine = torch.cosine_similarity(before.double(), after.double(), dim=1, eps=0)  # nan where nothing entered
    per_image = 1 - torch.nanmean(cosine.flatten(1), dim=1)
    assert found["influence"].sel(block="blocks.0").item() == pytest.approx(per_image.mean().item(), abs=1e-6)
    low, high = (found[name].sel(block="blocks.0").item() for name in ("influence_low", "influence_high"))
    assert low < per_image.mean().item() < high


def test_weight_distance_against_scipy(net: mt.Specimen, pics: mt.Images) -> None:
    from scipy.stats import wasserstein_distance

    found = Redundancy()(net, pics, PACE)
    assert np.isnan(found["weight_distance"].values[0])
    expected = []
    for name in ("conv1", "conv2"):
        one, two = (getattr(net.net.blocks[place], name).weight.detach().numpy().ravel().astype(np.float64) for place in (0, 1))
        pooled = np.sqrt((one.var() + two.var()) / 2)
        expected.append(wasserstein_distance(one, two) / pooled)
    assert found["weight_distance"].values[1] == pytest.approx(np.mean(expected), rel=1e-4)


def test_untrained_network_gives_no_evidence(pics: mt.Images) -> None:
    plain = mt.open("timm:resnet18", weights=None, zero_init_last=False, recipe={"size": 64})
    found = Redundancy()(plain, pics.take(range(20)), PACE)
    assert "untrained" in found.headline
    assert "only removal" not in found.headline
    assert set(found["verdict"].values) == {"untrained"}


def test_blocks_that_change_the_shape_are_named_not_judged(pics: mt.Images) -> None:
    plain = mt.open("timm:resnet18", weights=None, recipe={"size": 64})
    found = Redundancy()(plain, pics.take(range(20)), PACE)
    assert list(found["rank"].block.values) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert [one.split(":")[0] for one in found["not_judged"].values] == ["layer2.0", "layer3.0", "layer4.0"]


def test_no_block_keeps_its_shape(pics: mt.Images) -> None:
    funnel = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    with pytest.raises(Unmeasurable, match="no block whose output has the shape"):
        Redundancy()(mt.open(funnel.eval(), recipe={"size": 32}), pics, PACE)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Redundancy(), net, pics, tmp_path)
    assert "only removal proves" in " ".join(finding.caveats).lower() or "proves that it is not needed" in " ".join(
        finding.caveats
    )


def test_shards_merge(net: mt.Specimen, pics: mt.Images) -> None:
    whole = Redundancy().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu"))
    merged = testing.merge_shards(Redundancy(), net, pics)
    for name in ("influence", "angle", "cka"):
        np.testing.assert_allclose(merged[name].values, whole[name].values, rtol=1e-10)
