"""Wrappers that users hand over: the network inside is opened, with the layers that it has alone."""

from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import microtome as mt
from microtome._torchvision import timm
from microtome.errors import SpecimenError
from two_convolutions import Small

RECIPE = {"size": 32, "crop": 1.0}


class Training(nn.Module):
    """A training module that holds a network, a loss and no forward."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.model, self.criterion = net, nn.CrossEntropyLoss()


class Parallel(nn.parallel.DistributedDataParallel):
    """What DistributedDataParallel is once it runs, without other processes; it cannot be copied."""

    def __init__(self, net: nn.Module) -> None:
        nn.Module.__init__(self)
        self.module = net
        self.reducer = iter([1])

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.module(*inputs, **named)


def ema(version: str, net: nn.Module) -> nn.Module:
    timm()
    return getattr(import_module("timm.utils"), version)(net)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": Parallel,
    "AveragedModel": AveragedModel,
    "ModelEmaV2": lambda net: ema("ModelEmaV2", net),
    "ModelEmaV3": lambda net: ema("ModelEmaV3", net),
    "no forward": Training,
    "compiled": torch.compile,
}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(sorted(WRAPPERS)), min_size=1, max_size=3, unique=True))
def test_the_network_inside_is_opened(names: list[str]) -> None:
    torch.manual_seed(0)
    plain = mt.open(Small().eval(), recipe=RECIPE)
    net: Any = Small().eval()
    net.load_state_dict(plain.net.state_dict())
    for name in sorted(names, key="DistributedDataParallel".__eq__):  # outermost: averaging copies what it holds
        net = WRAPPERS[name](net)
    opened = mt.open(net.eval(), recipe=RECIPE)
    assert [layer.name for layer in opened.layers] == [layer.name for layer in plain.layers]
    assert opened.aliases == plain.aliases
    assert sum("is used, because" in note for note in opened.notes) == len(names)
    x = opened.noise(2)
    assert torch.equal(opened.run(x), plain.run(x))


@pytest.mark.parametrize("name", ["DataParallel", "DistributedDataParallel", "compiled"])
def test_wrappers_inside_a_network_are_left_out_of_a_copy(name: str) -> None:
    class Outer(nn.Module):
        def __init__(self, net: Any) -> None:
            super().__init__()
            self.backbone, self.fc = net, nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.backbone(x))

    torch.manual_seed(0)
    small = Small()
    net = Outer(WRAPPERS[name](small)).eval()
    opened = mt.open(net, recipe=RECIPE)
    assert "backbone.conv1" in [layer.name for layer in opened.layers]
    assert any("'backbone' is replaced by what is inside" in note for note in opened.notes)
    assert type(net.backbone) is type(WRAPPERS[name](small))  # the caller's own is as it was


def test_a_network_compiled_in_place_is_copied() -> None:
    net = Small().eval()
    net.compile()
    opened = mt.open(net, recipe=RECIPE)
    assert opened.net is not net
    assert opened.net._compiled_call_impl is None
    assert any("compiled in place" in note for note in opened.notes)


def test_of_several_networks_without_a_forward_none_is_guessed() -> None:
    both = Training(Small())
    both.ema = Small()
    with pytest.raises(SpecimenError, match=r"holds 2 networks: 'model' \(Small\), 'ema' \(Small\); hand over one"):
        mt.open(both.eval(), recipe=RECIPE)
    with pytest.raises(SpecimenError, match="no forward and holds no network"):
        mt.open(Training(nn.Identity()).eval(), recipe=RECIPE)


def test_a_network_outside_the_module_is_refused() -> None:
    backbone = Small().eval()

    class Borrowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(backbone(x))

    with pytest.raises(SpecimenError, match=r"uses 'backbone' \(Small\).*self.backbone = backbone"):
        mt.open(Borrowing().eval(), recipe=RECIPE)


def test_the_twin_of_a_network_with_a_replaced_forward_is_untrained() -> None:
    torch.manual_seed(0)
    net: Any = Small().eval()
    net.forward = lambda x: net.fc(net.act1(net.conv1(x)).mean((2, 3)))
    opened = mt.open(net, recipe=RECIPE)
    twin = opened.twin()
    x = opened.noise(2)
    assert not torch.allclose(opened.run(x), twin.run(x))
    with torch.no_grad():
        for parameter in twin.net.parameters():
            parameter.zero_()
    assert not twin.run(x).any()
