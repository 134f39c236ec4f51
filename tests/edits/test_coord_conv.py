"""Coordinate channels: the law of edits, which convolutions, counts by formula, and what does not fit."""

from pathlib import Path

import pytest
from torch import nn

import microtome as mt
from microtome import testing
from microtome.edits.coord_conv import CoordConv
from microtome.errors import Uneditable


@pytest.mark.parametrize(
    ("name", "widened", "more"),
    [  # two channels more: 2 · kernel area · outputs for each convolution
        ("microtome:banding_net(width=0.125,size=64,num_classes=5)", ("features.conv5a", "features.conv5b"), 2 * 2 * 25 * 64),
        ("microtome:mini_vgg", ("features.15", "features.18", "features.21"), 3 * 2 * 9 * 56),
    ],
)
def test_the_law_of_edits(name: str, widened: tuple[str, ...], more: int, tmp_path: Path) -> None:
    net = mt.open(name, weights=None)
    edited = testing.check_edit(CoordConv(), net, mt.Images.scenes(4), tmp_path)
    assert edited.edits[-1].preserves == "exactly"
    assert edited.edits[-1].parameters[1] - edited.edits[-1].parameters[0] == more
    assert all(path in edited.edits[-1].line for path in widened)


def test_last_stages_of_large_networks() -> None:
    net = mt.open("timm:resnet26", weights=None, recipe={"size": 64}, zero_init_last=False)
    assert "3 convolutions (layer4.0.conv2, layer4.1.conv2" not in (line := CoordConv()(net).edits[-1].line)
    assert "2 convolutions (layer4.0.conv2, layer4.1.conv2)" in line
    named = CoordConv(at=("layer1.0.conv1",))(net)
    assert named.edits[-1].options == {"at": ["layer1.0.conv1"]}


def test_what_does_not_fit() -> None:
    flat = mt.open(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)), recipe={"size": 8})
    with pytest.raises(Uneditable, match="no ordinary convolution without groups wider than 1 x 1"):
        CoordConv()(flat)
    grouped = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    with pytest.raises(Uneditable, match="among 0 that could read coordinates"):
        CoordConv(at=("0",))(mt.open(grouped, recipe={"size": 8}))
