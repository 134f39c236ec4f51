from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from microtome.errors import UnknownName, Unmeasurable
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen

SMALL = (64, 64)
STAGE4 = [f"stage4[{branch}]" for branch in range(4)]


@pytest.mark.parametrize(
    ("what", "size", "shallow", "middle", "deep"),
    [
        # the study's shallow, middle and deep layers: layer1/3/4, the ReLUs features.8/17/35, Mixed_5d/6e/7c, one per
        # branch of HRNet, and norm1 where a class token leaves the patches without gradient after the last attention
        ("timm:resnet50", SMALL, ["layer1"], ["layer3"], ["layer4"]),
        ("timm:seresnet50", SMALL, ["layer1"], ["layer3"], ["layer4"]),
        ("timm:vgg19", (64, 96), ["features.8"], ["features.17"], ["features.35"]),
        ("timm:inception_v3", (139, 139), ["Mixed_5d"], ["Mixed_6e"], ["Mixed_7c"]),
        ("timm:hrnet_w18", SMALL, ["layer1"], ["stage3[0]", "stage3[1]", "stage3[2]"], STAGE4),
        ("timm:deit_tiny_patch16_224", None, ["blocks.3.norm1"], ["blocks.7.norm1"], ["blocks.11.norm1"]),
        ("torchvision:vit_b_16", None, *([f"encoder.layers.encoder_layer_{block}.ln_1"] for block in (3, 7, 11))),
        ("timm:swin_tiny_patch4_window7_224", None, ["layers.0"], ["layers.2"], ["layers.3"]),
        ("timm:densenet121", SMALL, *([f"features.denseblock{block}"] for block in (1, 3, 4))),
        ("timm:convnext_tiny", SMALL, ["stages.0"], ["stages.2"], ["stages.3"]),
    ],
)
def test_shallow_middle_deep(
    opened: Callable[..., Specimen], what: str, size: Any, shallow: Any, middle: Any, deep: Any
) -> None:
    net = opened(what, size)
    assert [net.find(word) for word in ("shallow", "middle", "deep")] == [shallow, middle, deep]


def test_stages_are_the_outer_containers(opened: Callable[..., Specimen]) -> None:
    assert opened("timm:resnet50", SMALL).find("stages") == ["layer1", "layer2", "layer3", "layer4"]
    assert opened("timm:vgg19", (64, 96)).find("stages") == [f"features.{place}" for place in (3, 8, 17, 26, 35)]
    assert opened("timm:efficientnet_b0", SMALL).find("stages") == ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"]
    assert opened("timm:deit_tiny_patch16_224").find("stages") == ["blocks.3", "blocks.7", "blocks.11"]


def test_the_last_three(opened: Callable[..., Specimen]) -> None:
    assert opened("timm:vgg19", (64, 96)).find("last3") == ["features.31", "features.33", "features.35"]
    assert opened("timm:resnet50", SMALL).find("last3") == ["layer4.0", "layer4.1", "layer4.2"]
    assert opened("timm:hrnet_w18", SMALL).find("last") == [f"stage4.2[{branch}]" for branch in range(4)]


def test_convolutions_and_globs(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:resnet50", SMALL)
    assert len(net.find("convs")) == 53  # 1 + 16 * 3 + 4 shortcuts
    assert net.find("layer4.?.conv2") == [f"layer4.{block}.conv2" for block in range(3)]
    assert net.find(["layer4", "layer2", "layer4"]) == ["layer2", "layer4"]
    assert net.find("last, layer1") == ["layer1", "layer4.2"]


def test_distinct_keeps_one_of_those_that_give_the_same_tensor(opened: Callable[..., Specimen]) -> None:
    resnet, densenet = opened("timm:resnet50", SMALL), opened("timm:densenet121", SMALL)
    assert resnet.find(("stages", "last")) == ["layer1", "layer2", "layer3", "layer4.2", "layer4"]
    assert resnet.distinct(("stages", "last")) == ["layer1", "layer2", "layer3", "layer4"]
    assert resnet.distinct("layer4.2,layer4") == ["layer4.2", "layer4"]  # named one by one
    # The last dense layer gives its own 32 maps, the block all of them: not the same.
    assert densenet.distinct(("stages", "last"))[-2:] == ["features.denseblock4.denselayer16", "features.denseblock4"]
    hrnet = opened("timm:hrnet_w18", SMALL).distinct(("stages", "last"))
    assert hrnet[-4:] == [f"stage4[{branch}]" for branch in range(4)]
    assert not any(name.startswith("stage4.") for name in hrnet)


def test_unknown_names_name_the_nearest(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:resnet50", SMALL)
    with pytest.raises(UnknownName, match="'layer4'"):
        net.find("layer44")
    with pytest.raises(UnknownName, match="shallow"):
        net.find("shalow")
    with pytest.raises(UnknownName):
        net.layer("layer9")
    with pytest.raises(UnknownName, match=r"layer1\.0"):
        net.block("layer1.O")


def test_an_alias_without_layers_is_no_wrong_name() -> None:
    net = open_specimen(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval(), recipe={"size": 8})
    with pytest.raises(Unmeasurable, match="The alias 'blocks' matches no layer"):
        net.find("blocks")
