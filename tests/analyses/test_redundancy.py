"""Redundancy: a planted idle block is found first, an untrained network gives no evidence, numbers agree with plain code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from cka_oracle import debiased_cka
from microtome import testing
from microtome.analyses.redundancy import Redundancy
from microtome.errors import Unmeasurable
from microtome.instruments import image_pairs
from microtome.scan import Pace
from tests.conftest import Tiny

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
    assert found.headline.startswith("Untrained weights: ")
    assert np.isnan(found.key("blocks below all untrained twins").value)
    assert any("untrained, so this is no evidence" in line for line in found.caveats)
    assert set(found["verdict"].values) == {"untrained"}


def test_blocks_that_change_the_shape_are_named_not_judged(pics: mt.Images) -> None:
    plain = mt.open("timm:resnet18", weights=None, recipe={"size": 64})
    found = Redundancy()(plain, pics.take(range(20)), PACE)
    assert list(found["rank"].block.values) == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]
    assert [line.split(":")[0] for line in found.facts["not_judged"]] == ["layer2.0", "layer3.0", "layer4.0"]


def test_no_block_keeps_its_shape(pics: mt.Images) -> None:
    funnel = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
    with pytest.raises(Unmeasurable, match="no block whose output has the shape"):
        Redundancy()(mt.open(funnel.eval(), recipe={"size": 32}), pics, PACE)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    finding = testing.check(Redundancy(), net, pics, tmp_path)
    assert any("proves that it is not needed" in line for line in finding.caveats)


@pytest.mark.parametrize("memory", [512 << 20, 0])
def test_shards_merge(net: mt.Specimen, pics: mt.Images, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", memory)
    whole = Redundancy().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu")).arrays
    merged = testing.merge_shards(Redundancy(), net, pics)
    for name in ("influence", "angle", "cka"):
        np.testing.assert_allclose(merged[name].values, whole[name].values, rtol=1e-10)


def test_one_order_by_influence_whatever_the_twins_say(pics: mt.Images) -> None:
    """Rank 1, the block that the headline names and the smallest influence are the same block, also where others are below their twins."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Tiny(scales=(0.02, 0.3, 1.0))
    with (
        torch.no_grad()
    ):  # the last block barely acts, for a block of scale 1; the first acts more than a twin of scale 0.02 does
        for name, parameter in net.blocks.named_parameters():
            parameter.mul_({"0": 3.0, "1": 1.0, "2": 0.3}[name[0]])
    found = Redundancy()(mt.open(net.eval(), recipe={"size": 32}), pics, PACE)
    order = [str(block) for block in found["rank"].block.values[np.argsort(found["rank"].values)]]
    assert order == [str(block) for block in found["influence"].block.values[np.argsort(found["influence"].values)]]
    assert found["verdict"].sel(block="blocks.2").item() == "below all twins"
    assert found["verdict"].sel(block="blocks.0").item() != "below all twins"
    influence = found.key("smallest block influence")
    assert order[0] == influence.at == "blocks.0" and found.headline.startswith("blocks.0 changes least")
    assert influence.value == found["influence"].min().item()
    assert influence.low == found["influence_low"].sel(block="blocks.0").item()
    assert influence.baseline == found["twin_influence"].sel(block="blocks.0").item()
    assert found.key("blocks below all untrained twins").value == pytest.approx(1 / 3)


def test_twin_arrays_are_mean_and_range_over_five(net: mt.Specimen, pics: mt.Images) -> None:
    found = Redundancy()(net, pics, PACE)
    influences = []
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe)))
    for seed in range(1, 6):
        twin = net.twin(seed, pics).net
        with torch.no_grad():
            before = torch.relu(twin.stem(x))
            after = twin.blocks[0](before)
        cosine = torch.cosine_similarity(before.double(), after.double(), dim=1, eps=0)
        influences.append(1 - torch.nanmean(cosine.flatten(1), dim=1).mean().item())
    first = {end: found[f"twin_influence{end}"].sel(block="blocks.0").item() for end in ("", "_low", "_high")}
    assert first[""] == pytest.approx(np.mean(influences), abs=1e-6)
    assert first["_low"] == pytest.approx(min(influences), abs=1e-6)
    assert first["_high"] == pytest.approx(max(influences), abs=1e-6)
    assert found["each_twin_influence"].sel(block="blocks.0").values == pytest.approx(influences, abs=1e-6)


def test_no_verdict_where_the_twins_keep_trained_weights(pics: mt.Images) -> None:
    class Packed(Tiny):
        """Most of its weights lie in a buffer of whole numbers that nobody can draw anew."""

        def __init__(self, outputs: int) -> None:
            super().__init__(outputs=outputs)
            self.register_buffer("packed", torch.arange(8 * 4096).remainder(251).to(torch.uint8).reshape(8, 4096))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + self.packed.float().mean()

    found = Redundancy()(mt.open(Packed(10).eval(), recipe={"size": 32}), pics, PACE)
    assert found.facts["no_verdict"] == "89.6% of the untrained twins' weights could not be drawn anew (packed)"
    assert f"No verdict: {found.facts['no_verdict']}." in found.caveats
    assert np.isnan(found.key("blocks below all untrained twins").value)
    assert set(found["verdict"].values) == {"no verdict"}
    assert found.caveats[0].startswith(
        "89.6% of the untrained twins' weights could not be drawn anew and are the network's own"
    )


def test_cka_is_over_all_pairs_in_any_order_and_batch(
    net: mt.Specimen, pics: mt.Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Redundancy()(net, pics, PACE)
    x = net.recipe.normalise(torch.from_numpy(pics.pixels(net.recipe)))
    with torch.no_grad():
        value = torch.relu(net.net.stem(x))
        for block in net.net.blocks:
            before, value = value, block(value)
            place = found["cka"].sel(block=f"blocks.{list(net.net.blocks).index(block)}")
            assert place.item() == pytest.approx(float(debiased_cka(before.double(), value.double())), abs=1e-5)
    backwards = pics.take(np.arange(40)[::-1])
    other = Redundancy()(net, backwards, Pace(batch=7, device="cpu"))
    for name in ("influence", "influence_low", "influence_high", "angle", "cka", "twin_influence", "twin_cka"):
        np.testing.assert_allclose(other[name].values, found[name].values, rtol=1e-5, atol=1e-9)
    monkeypatch.setattr(image_pairs, "FEATURE_BYTES", 0)
    batched, again = Redundancy()(net, pics, PACE), Redundancy()(net, backwards, PACE)
    np.testing.assert_array_equal(again["cka"].values, batched["cka"].values)
    np.testing.assert_allclose(batched["cka"].values, found["cka"].values, atol=0.01)
    assert any("random samples" in line for line in batched.caveats)
