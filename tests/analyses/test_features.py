"""`features` against a plain forward pass with a hook, a planted dead unit, and in-place activations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.analyses.features import Features
from microtome.errors import Unmeasurable
from microtome.scan import Pace

RECIPE = {"size": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop": 1.0}
BATCH = Pace(batch=16, device="cpu")


def chain(*, inplace: bool, dead: int | None = None) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace))
    if dead is not None:
        with torch.no_grad():
            net[0].bias[dead] = -100.0
    return net.eval()


def by_hook(specimen: mt.Specimen, pics: mt.Images, path: str) -> torch.Tensor:
    """What the module at `path` gives for all images, taken by a hook of our own."""
    kept: list[torch.Tensor] = []
    handle = specimen.net.get_submodule(path).register_forward_hook(
        lambda _module, _inputs, out: kept.append(out.detach().clone())
    )
    x = specimen.recipe.normalise(torch.from_numpy(np.asarray(pics.pixels(specimen.recipe, range(len(pics))))))
    with torch.no_grad():
        specimen.net(x)
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("inplace", [False, True])
def test_maps_are_those_of_a_plain_forward_pass(pics: mt.Images, inplace: bool) -> None:
    specimen = mt.open(chain(inplace=inplace), recipe=RECIPE)
    found = Features(at=("0", "2"), count=3, units=5)(specimen, pics, BATCH)
    for path in ("0", "2"):
        expected = by_hook(specimen, pics, path)
        told = found[f"map/{path}"]
        assert told.sizes == {"image": 3, "unit": 5, "row": 32, "col": 32}
        np.testing.assert_allclose(told.values, expected[:3, told.unit.values.tolist()].numpy(), atol=1e-5)
        strength = expected.double().square().mean((0, 2, 3)).sqrt().numpy()
        np.testing.assert_allclose(found[f"strength/{path}"].values, strength, rtol=1e-5)
        assert told.unit.values.tolist() == np.argsort(-strength, kind="stable")[:5].tolist()
        # values before the activation go below zero, though an in-place ReLU overwrites them
        assert found["negative_share"].sel(layer=path).item() == pytest.approx(float((expected < 0).double().mean()))


def test_a_planted_dead_unit_is_found(pics: mt.Images) -> None:
    found = Features(at=("0", "1"))(mt.open(chain(inplace=False, dead=3), recipe=RECIPE), pics, BATCH)
    assert found["dead_share"].sel(layer="1").item() == 1 / 8
    assert found["strength/1"].values[3] == 0
    assert (np.delete(found["strength/1"].values, 3) > 0).all()
    assert np.isnan(found["dead_share"].sel(layer="0").item())  # below zero: silence is no sign there
    assert found["twin_dead_share"].sel(layer="1").item() == 0
    assert found.headline.startswith("1 of 8 units of 1 is zero on all ")
    assert found.key("dead units, worst layer").value == 1 / 8


def test_first_units_and_first_images(pics: mt.Images) -> None:
    found = Features(at=("1",), sort="first", units=2, count=20)(mt.open(chain(inplace=False), recipe=RECIPE), pics, BATCH)
    assert found["map/1"].unit.values.tolist() == [0, 1]
    assert found["map/1"].image.values.tolist() == list(pics.names[:20])  # more than one batch of 16


def test_tokens_lie_on_their_grid_without_the_class_token(pics: mt.Images) -> None:
    specimen = mt.open("timm:deit_tiny_patch16_224", weights=None, recipe={"size": 64}, img_size=64)
    few = pics.take([0, 1, 2, 3])
    found = Features(at=("blocks.0",), units=192, count=2, sort="first")(specimen, few, BATCH)
    tokens = by_hook(specimen, few, "blocks.0")[:2]
    assert found["map/blocks.0"].sizes == {"image": 2, "unit": 192, "row": 4, "col": 4}
    # row 1, col 2 is token 1 + (4 + 2): the class token comes first
    np.testing.assert_allclose(found["map/blocks.0"].values[:, :, 1, 2], tokens[:, 7].numpy(), atol=1e-4)


def test_large_maps_are_averaged_by_area() -> None:
    pics = mt.Images.scenes(4, seed=1, size=128)
    specimen = mt.open(chain(inplace=False), recipe=RECIPE | {"size": 128})
    found = Features(at=("0",), units=8, count=1, sort="first")(specimen, pics, BATCH)
    whole = by_hook(specimen, pics, "0")[0].view(8, 64, 2, 64, 2).mean((2, 4))
    np.testing.assert_allclose(found["map/0"].values[0], whole.numpy(), atol=1e-5)


def test_a_stage_that_hands_on_its_last_block_is_shown_once(net: mt.Specimen, pics: mt.Images) -> None:
    found = Features(at=("blocks", "blocks.2"))(net, pics, BATCH)
    layers = found["dead_share"].layer.values.tolist()
    assert layers == ["blocks.0", "blocks.1", "blocks.2"]


def test_values_that_are_not_finite_are_said(pics: mt.Images) -> None:
    net = chain(inplace=False)
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = float("nan")
    found = Features(at=("0",))(mt.open(net, recipe=RECIPE), pics, BATCH)
    assert "not finite" in found.headline


def test_layers_without_maps_are_refused_in_a_sentence(pics: mt.Images) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).view(len(x), 2, 3, 2, -1)

    net: Any = nn.Sequential(nn.Conv2d(3, 3, 1), Odd(), nn.Flatten())
    with pytest.raises(Unmeasurable, match="maps, tokens or a vector"):
        Features(at=("1",))(mt.open(net, recipe=RECIPE), pics, BATCH)


def test_common_suite(net: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    testing.check(Features(), net, pics, tmp_path)


def test_shards_merge(net: mt.Specimen, pics: mt.Images) -> None:
    whole = Features().measure(net.on("cpu"), pics, Pace(batch=8, device="cpu")).arrays
    merged = testing.merge_shards(Features(), net, pics)
    assert list(merged) == list(whole)
    for name, one in whole.items():
        if one.dtype.kind == "f":
            np.testing.assert_allclose(merged[name].values, one.values, rtol=1e-6, atol=1e-7)


def test_behind_a_stride_of_two_and_one_every_named_layer_is_measured(pics: mt.Images) -> None:
    """ReLUs and pools behind unequal strides were dropped without a word."""
    parts = [nn.Conv2d(3, 6, (5, 3), (2, 1), 1), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = mt.open(nn.Sequential(*parts, nn.Linear(6, 4)), recipe={"size": (30, 22), "crop": 1.0})
    found = Features(at=("0", "1", "2"), count=2)(net, pics)
    assert found["dead_share"].layer.values.tolist() == ["0", "1", "2"]
    assert not any("Not measured" in text for text in found.caveats)


def test_what_was_asked_for_and_not_measured_is_named(pics: mt.Images) -> None:
    """Volumes of five axes have no rows and columns; a container that hands on its last part's tensor is that part."""

    class Volume(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :, None, :, :] * torch.ones(1, 1, 3, 1, 1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
            self.volume, self.head = Volume(), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.volume(self.stem(x)).mean((2, 3, 4)))

    net = mt.open(Net(), recipe={"size": 16, "crop": 1.0})
    found = Features(at=("stem.1", "stem", "volume"), count=2)(net, pics)
    assert found["dead_share"].layer.values.tolist() == ["stem.1", "stem"]  # named one by one, so both stay
    assert found.facts["unmeasured"] == {
        "volume": "rows and columns cannot be identified in its output of shape 4 x 3 x 16 x 16"
    }
    assert (
        found.caveats[-1]
        == "Not measured: volume, since rows and columns cannot be identified in its output of shape 4 x 3 x 16 x 16."
    )
    found = Features(at=("stem*",), count=2)(net, pics)
    assert found["dead_share"].layer.values.tolist() == ["stem.0", "stem"]  # stem.1 gives the very tensor of stem
    assert found.facts["unmeasured"] == {}
