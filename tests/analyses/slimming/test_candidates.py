"""Candidates of a network: which there are, and that they share weights with the original without touching it."""

import pytest
import torch

import microtome as mt
from microtome.analyses.slimming.candidates import Slimmer, SmallerNetwork, share_weights
from microtome.specimen.copying import copy_network
from microtome.testing import fingerprint


@pytest.fixture(scope="module")
def slimmer() -> Slimmer:
    return Slimmer.of(mt.open("microtome:mini_resnet"))


def test_blocks_cuts_and_sets(slimmer: Slimmer) -> None:
    assert slimmer.removable == ["layer3.1", "layer4.1", "layer4.2"]
    assert [(c.name, c.from_end) for c in slimmer.singles()][-2:] == [("layer4.1", 2), ("layer4.2", 1)]
    assert [c.at for c in slimmer.cuts()] == ["layer1.0", "layer2.0", "layer3.0", "layer3.1", "layer4.0", "layer4.1"]
    assert slimmer.several(("layer4.2", "layer3.1")).blocks == ("layer3.1", "layer4.2")
    assert not slimmer.can_be_empty(SmallerNetwork("block", "layer2.0", ("layer2.0",)))
    assert slimmer.can_be_linear(SmallerNetwork("block", "layer2.0", ("layer2.0",)))
    assert slimmer.cuts()[0].kind == "cut" and not slimmer.can_be_linear(slimmer.cuts()[0])


def test_candidates_share_weights_and_leave_the_original_alone(slimmer: Slimmer) -> None:
    before = fingerprint(slimmer.specimen.net)
    net = slimmer.network(slimmer.several(("layer4.1",)))
    originals = {id(parameter) for parameter in slimmer.specimen.net.parameters()}
    assert {id(parameter) for parameter in net.parameters()} < originals
    assert not {id(buffer) for buffer in net.buffers()} & {id(buffer) for buffer in slimmer.specimen.net.buffers()}
    own = slimmer.network(slimmer.several(("layer4.1",)), own_weights=True)
    assert not {id(parameter) for parameter in own.parameters()} & originals
    cut = slimmer.network(slimmer.cuts()[2], classes=7)
    assert cut(slimmer.specimen.noise(2)).shape == (2, 7)
    assert fingerprint(slimmer.specimen.net) == before


def test_shared_weights_give_equal_answers(slimmer: Slimmer) -> None:
    net = copy_network(slimmer.specimen.net)
    share_weights(net, slimmer.specimen.net)
    x = slimmer.specimen.noise(2)
    with torch.no_grad():
        assert torch.equal(net(x), slimmer.specimen.net(x))
