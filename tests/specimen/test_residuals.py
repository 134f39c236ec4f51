"""Residual blocks told by silencing their branches: by hand, in the libraries' networks, whatever the weights are."""

import pytest
import torch

import microtome as mt


def test_by_hand(tiny) -> None:
    net = mt.open(tiny(), recipe={"size": 32})  # x + conv2(relu(conv1(x)))
    assert [(r.block, r.start, r.end, r.shortcut, r.units) for r in net.residuals] == [
        (f"blocks.{i}", f"blocks.{i}.conv1", f"blocks.{i}.conv2", None, 8) for i in range(3)
    ]


@pytest.mark.parametrize(
    ("name", "count", "end", "shortcut"),
    [
        ("microtome:mini_resnet", 7, "layer1.0.bn2", "layer1.0.downsample"),
        ("microtome:mini_seresnet", 7, "layer1.0.bn2", "layer1.0.downsample"),
        ("torchvision:resnet18", 8, "layer1.0.bn2", None),
        ("timm:resnet26d", 8, "layer1.0.bn3", "layer1.0.downsample"),
        ("timm:resnetv2_50", 16, "stages.0.blocks.0.conv3", "stages.0.blocks.0.downsample"),
        ("microtome:mini_vgg", 0, "", None),
        ("microtome:mini_densenet", 0, "", None),
        ("microtome:mini_inception", 0, "", None),
    ],
)
def test_libraries(name: str, count: int, end: str, shortcut: str | None) -> None:
    found = mt.open(name, weights=None, recipe={"size": 64}).residuals
    assert len(found) == count
    if count:
        assert (found[0].end, found[0].shortcut) == (end, shortcut)


def test_trained_untrained_and_broken_weights_say_the_same() -> None:
    trained, untrained = mt.open("microtome:mini_resnet"), mt.open("microtome:mini_resnet", weights=None)
    assert trained.residuals == untrained.residuals == trained.twin().residuals
    broken = mt.open("microtome:mini_resnet", weights=None)
    with torch.no_grad():
        broken.net.layer1[0].downsample[0].weight[0] = float("nan")  # type: ignore[index]
    assert broken.residuals == trained.residuals
