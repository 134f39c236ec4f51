"""A trained network, and the same with dead units, for several tests of the audit."""

import copy

import pytest
import torch

import microtome as mt


@pytest.fixture(scope="module")
def net() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def broken(net: mt.Specimen) -> mt.Specimen:
    """A ResNet with a dead unit in two layers."""
    other = copy.deepcopy(net.net)
    with torch.no_grad():
        other.layer1[0].conv1.weight[0] = 0
        other.layer3[0].conv1.weight[:2] = 0
    return net.with_net(other, name="broken")
