"""Networks of the literature: parameter counts of the papers to the unit, layer by layer where they say it, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import networks
from microtome._torchvision import timm
from microtome.errors import BadOption, CheckpointError, UnknownName


def built(name: str, **options: Any) -> nn.Module:
    """The network without memory for its parameters."""
    timm()
    with torch.device("meta"):
        return networks.build(name, **options)


def size(name: str, **options: Any) -> int:
    return sum(one.numel() for one in built(name, **options).parameters())


def test_they_open_by_name_with_their_options() -> None:
    net = mt.open("microtome:densenet_cifar(depth=13,growth=4)", weights=None)
    assert (net.recipe.size, net.family, net.outputs, net.labels) == ((32, 32), "deeper", 10, None)
    assert net.find("convs")[0] == "features.conv0"
    assert mt.open("microtome:densenet_cifar", weights=None, depth=13, growth=4).digest() == net.digest()
    assert net.twin().digest() != net.digest()
    bands = mt.open("microtome:banding_net(width=.125,size=64)", weights=None)
    assert (bands.recipe.size, bands.outputs) == ((64, 64), 1001)
    assert mt.open("microtome:se_resnet18(ratio=8)", weights=None, recipe={"size": 32}).family == "attention"
    assert mt.open("densenet121", weights=None, recipe={"size": 32}).name == "timm:densenet121"  # which has weights


def test_what_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'densenet264' ships without weights: .*weights=None"):
        mt.open("microtome:densenet264")
    with pytest.raises(BadOption, match="has 4 \\+ 3n layers, which 41 is not; take 40 or 43"):
        mt.open("microtome:densenet_cifar(depth=41)", weights=None)
    with pytest.raises(BadOption, match="no pooling 'gab'. Did you mean 'gap'"):
        mt.open("microtome:banding_net(pooling='gab')", weights=None)
    with pytest.raises(BadOption, match="multiples of 32"):
        mt.open("microtome:banding_net(size=100)", weights=None)
    with pytest.raises(BadOption, match="compression above 0"):
        mt.open("microtome:densenet121(compression=0)", weights=None)
    with pytest.raises(BadOption, match="ratio .* is 0; it takes 1 to 64"):
        mt.open("microtome:se_resnet50(ratio=0)", weights=None)
    with pytest.raises(BadOption, match="without a name; write them as key=value"):
        mt.open("microtome:densenet_cifar(40)", weights=None)
    with pytest.raises(UnknownName, match="'densenet_cifar'"):
        mt.open("microtome:denset_cifar(depth=40)", weights=None)
