"""The mini ResNets: units and places by stage, no dilation, and gates in one of them only."""

import pytest
import torch
from torch import nn

from microtome import networks


@pytest.fixture(scope="module")
def nets() -> tuple[nn.Module, nn.Module]:
    return networks.build("mini_resnet"), networks.build("mini_seresnet")


def test_units_and_places_by_stage(nets) -> None:
    x, sides = torch.zeros(1, 3, 64, 64), []
    net = nets[0].eval()
    x = net.maxpool(net.act1(net.bn1(net.conv1(x))))
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = stage(x)
        sides.append(tuple(x.shape[1:]))
    assert sides == [(24, 16, 16), (32, 8, 8), (40, 8, 8), (48, 8, 8)]
    assert [len(stage) for stage in (net.layer1, net.layer2, net.layer3, net.layer4)] == [1, 1, 2, 3]


def test_kernels_have_no_holes_and_pad_what_they_need(nets) -> None:
    convs = [part for net in nets for part in net.modules() if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3)]
    assert len(convs) == 2 * (3 + 2 * 7)  # the stem's three, and two in each of seven blocks
    assert {(conv.dilation, conv.padding) for conv in convs} == {((1, 1), (1, 1))}


def test_gates_are_all_that_is_added(nets) -> None:
    plain, gated = (dict(net.named_parameters()) for net in nets)
    assert {name.split(".")[2] for name in gated.keys() - plain.keys()} == {"se"}
    assert all(gated[name].shape == value.shape for name, value in plain.items())
