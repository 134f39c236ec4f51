"""Other heads: the law of edits on every kind, answers that stay, parameters by formula, and what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.edit import parse
from microtome.edits.head_pooling import HeadPooling
from microtome.errors import Uneditable
from microtome.networks.pooling import POOLINGS

SAME = ("fc", "x_avgpool", "y_avgpool", "xy_avgpool", "masks", "mask", "attention", "film")


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(4)


@pytest.fixture(scope="module")
def banding() -> mt.Specimen:
    return mt.open("microtome:banding_net(width=0.125,size=64,num_classes=5)", weights=None)


@pytest.mark.parametrize("kind", [kind for kind in POOLINGS if kind != "gap"])
def test_the_law_of_edits(kind: Any, banding: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    edited = testing.check_edit(HeadPooling(kind=kind, hidden=32), banding, pics, tmp_path)
    assert edited.edits[-1].preserves == ("exactly" if kind in SAME else "no")
    # 64 maps of 2 x 2 places and 5 classes, where global average pooling has 64 · 5 weights behind it
    more = {
        "fc": 3 * 64 * 5,  # four times the weights
        "x_avgpool": 64 * 5,
        "y_avgpool": 64 * 5,
        "xy_avgpool": 3 * 64 * 5,
        "masks": 2 * 64 * 5 + 3 * 4,
        "mask": 64 * 4,
        "attention": 64,
        "film": (64 + 1) * 2 * 4,
        "groups": 64 * 4 * 64 + 2 * 1024 + (1024 - 64) * 5,  # 16 layers of 4 channels · 4 places to 64, batch norm, a wider fc
        "max_fc": 64 * 32 + 2 * 32 + (32 - 64) * 5,
    }
    before, after = edited.edits[-1].parameters
    assert after - before == more[kind]


def test_the_published_counts_of_weights() -> None:
    """The article's maps of 7 x 7 places: 49 times the weights without pooling, 7 times with the mean of rows."""
    net = mt.open("microtome:banding_net(num_classes=11,width=0.125)", weights=None)  # 64 maps of 7 x 7 places
    for kind, times in (("fc", 49), ("x_avgpool", 7)):
        assert HeadPooling(kind=kind)(net).net.fc.weight.numel() == times * 64 * 11  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("name", ["mini_resnet", "mini_vgg", "mini_inception"])
def test_trained_networks_keep_their_answers(name: str, pics: mt.Images) -> None:
    net = mt.open(f"microtome:{name}")
    x = net.recipe.normalise(torch.from_numpy(pics.inputs(net.recipe)))
    for kind in SAME:
        torch.testing.assert_close(HeadPooling(kind=kind)(net).run(x), net.run(x), rtol=1e-3, atol=1e-3)


def test_the_new_layer_by_hand() -> None:
    """The mean of each row, weighted: one unit on 2 x 3 places, W = 6, so 6 / 2 for each row; without pooling 6 / 6 for each place."""
    fc = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        fc.weight.fill_(6.0)
    layers = nn.Sequential(nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), fc).eval()
    net = mt.open(layers, recipe={"size": (2, 3)})
    for kind, by_hand in (
        ("x_avgpool", [3.0] * 2),
        ("y_avgpool", [2.0] * 3),
        ("xy_avgpool", [1.5] * 2 + [1.0] * 3),
        ("fc", [1.0] * 6),
        ("masks", [2.0] * 3),
    ):
        edited = HeadPooling(kind=kind)(net)  # type: ignore[arg-type]
        assert edited.net[3].weight.flatten().tolist() == by_hand  # type: ignore[index]
    drawn = HeadPooling(kind="x_avgpool", start="random")(net)
    assert drawn.edits[-1].preserves == "no" and drawn.net[3].weight.flatten().tolist() != [3.0] * 2  # type: ignore[index]


def test_global_pooling_for_a_network_that_reads_every_place(pics: mt.Images, tmp_path: Path) -> None:
    """As in VGG: where a map is the same everywhere, the mean with summed weights answers as all places did."""
    head = nn.Linear(4 * 9, 3)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(3), nn.Flatten(), head).eval()
    net = mt.open(layers, recipe={"size": 16})
    edited = HeadPooling(kind="gap")(net)
    even = torch.full((2, 3, 16, 16), 0.7)
    torch.testing.assert_close(edited.run(even), net.run(even))
    assert edited.edits[-1].preserves == "no" and edited.net[3].in_features == 4  # type: ignore[index]
    by_kernel = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 14), nn.Flatten(), nn.Linear(5, 3)).eval()
    for kind in ("gap", "y_avgpool", "masks"):
        other = HeadPooling(kind=kind)(mt.open(by_kernel, recipe={"size": 16}))  # type: ignore[arg-type]
        assert other.run(even).shape == (2, 3) and other.net[1].kernel_size == (1, 1)  # type: ignore[index]


def test_one_head_after_another(banding: mt.Specimen, pics: mt.Images, tmp_path: Path) -> None:
    once = HeadPooling(kind="fc")(banding)
    back = testing.check_edit(HeadPooling(kind="gap"), once, pics, tmp_path)
    x = banding.noise(2)
    torch.testing.assert_close(back.run(x), banding.run(x), rtol=1e-3, atol=1e-4)
    assert parse(HeadPooling(kind="masks", masks=5).to_cli()) == HeadPooling(kind="masks", masks=5)


def test_what_does_not_fit(banding: mt.Specimen) -> None:
    with pytest.raises(Uneditable, match=r"pool\.0 averages over all positions already; kind=fc"):
        HeadPooling(kind="gap")(banding)
    with pytest.raises(Uneditable, match="the 56 channels of its last map do not fall into 16 groups; take groups=14"):
        HeadPooling(kind="groups")(mt.open("microtome:mini_vgg", weights=None))
    flat = mt.open(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2)).eval(), recipe={"size": 6})
    with pytest.raises(Uneditable, match="2 reads every position of its last map already; kind=gap"):
        HeadPooling()(flat)
    with pytest.raises(Uneditable, match="no module pools its last map"):
        HeadPooling()(mt.open("microtome:mini_deit", weights=None))
