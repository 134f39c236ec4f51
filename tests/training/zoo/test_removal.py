"""Blocks removed: the remaining network by arithmetic, and what is refused."""

import pytest
import torch
from torch import nn

from experiments.experiments import Budget, block_variants
from microtome import networks
from microtome.errors import BadOption, Uneditable, UnknownName
from microtome.training.zoo.loop import fresh_network
from microtome.training.zoo.removal import removable_blocks, remove_blocks

TINY = Budget(epochs=1, count=16, seeds=2)


def parameters(net: nn.Module) -> int:
    return sum(one.numel() for one in net.parameters())


def test_what_is_left_has_the_parameters_that_arithmetic_says() -> None:
    whole = networks.build("mini_vgg")
    # a 3 x 3 convolution from 56 to 56 units with offsets, and a norm's scale and shift
    block = 56 * 56 * 9 + 56 + 2 * 56
    cut = remove_blocks(networks.build("mini_vgg"), ["features.18"])
    assert parameters(cut) == parameters(whole) - block
    assert [type(one) for one in cut.features[18:21]] == [nn.Identity] * 3
    # two 3 x 3 convolutions from 48 to 48 units without offsets, and two norms
    cut = remove_blocks(networks.build("mini_resnet"), ["layer4.1", "layer4.2"])
    assert parameters(cut) == parameters(networks.build("mini_resnet")) - 2 * (2 * 48 * 48 * 9 + 4 * 48)


def test_what_stays_answers_as_if_the_block_handed_on_its_input() -> None:
    whole, cut = networks.build("mini_resnet").eval(), networks.build("mini_resnet").eval()
    cut.load_state_dict(whole.state_dict())
    remove_blocks(cut, ["layer4.1"])
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    whole.layer4[1].register_forward_hook(lambda _module, given, _gave: given[0])
    with torch.no_grad():
        assert torch.equal(whole(x), cut(x))


def test_the_cut_network_begins_with_the_weights_of_the_whole_and_leaves_random_states_alone() -> None:
    before = torch.random.get_rng_state()
    whole = fresh_network(TINY.recipe("mini_vgg", (), 3)).state_dict()
    net = fresh_network(TINY.recipe("mini_vgg", ("features.11",), 3))
    assert net.training
    cut = net.state_dict()
    assert set(cut) == {name for name in whole if not name.startswith(("features.11.", "features.12."))}
    assert all(torch.equal(cut[name], whole[name]) for name in cut)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_block_that_changes_the_sides_is_refused() -> None:
    assert removable_blocks(networks.build("mini_vgg")) == ["features.11", "features.18", "features.21"]
    with pytest.raises(Uneditable, match=r"'layer2.0' cannot be removed: .*sides of the maps.*layer3.1, layer4.0, layer4.1"):
        remove_blocks(networks.build("mini_resnet"), ["layer4.1", "layer2.0"])
    with pytest.raises(UnknownName, match=r"Did you mean 'layer4\.[12]'"):
        remove_blocks(networks.build("mini_resnet"), ["layer4.3"])
    with pytest.raises(BadOption, match="learns from the maps of mini_vgg"):
        block_variants("mini_deit")
