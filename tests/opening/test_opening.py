from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import microtome.networks as networks
from microtome.errors import BadOption, UnknownName
from microtome.opening.opening import open as open_specimen
from microtome.specimen import tap, watch


def test_bare_names_are_resolved_and_it_is_said() -> None:
    net = open_specimen("squeezenet1_1", weights=None)
    assert net.name == "torchvision:squeezenet1_1"
    assert any("was taken as torchvision:squeezenet1_1" in note for note in net.notes)
    own = open_specimen(networks.NAMES[0], weights=None)
    assert own.name == f"microtome:{networks.NAMES[0]}"


@pytest.mark.parametrize("name", networks.NAMES)
def test_own_networks(name: str) -> None:
    net = open_specimen(f"microtome:{name}", weights=None)
    assert (net.recipe.size, net.recipe.mean, net.recipe.std, net.recipe.crop) == (
        networks.SIZE,
        networks.MEAN,
        networks.STD,
        1.0,
    )
    assert net.family == networks.FAMILIES[name]
    assert net.outputs == 10
    assert len(net.blocks) >= 3
    for word in ("shallow", "middle", "deep", "last3"):
        assert net.find(word)


def test_options_are_checked(tiny: Callable[..., nn.Module]) -> None:
    with pytest.raises(BadOption, match="frobnicate"):
        open_specimen("timm:test_resnet", weights=None, frobnicate=1)
    with pytest.raises(BadOption, match="depth"):
        open_specimen(tiny(), depth=3)
    with pytest.raises(BadOption, match="twin"):
        open_specimen(tiny(), weights=None)
    with pytest.raises(UnknownName, match="'wider'"):
        open_specimen(tiny(), family="widr")
    with pytest.raises(BadOption, match="cpu"):
        open_specimen(tiny(), device="cuda:99")


def test_the_module_given_is_the_module_used_and_left_alone(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny()
    mine.stem.requires_grad_(False)  # type: ignore[union-attr]
    mine(torch.randn(1, 3, 32, 32)).sum().backward()

    def facts() -> list[Any]:
        parameters = [
            (name, value.requires_grad, None if value.grad is None else value.grad.sum().item())
            for name, value in mine.named_parameters()
        ]
        modules = [(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in mine.modules()]
        return [parameters, modules, {name: value.sum().item() for name, value in mine.state_dict().items()}]

    before = facts()
    net = open_specimen(mine, recipe=32)
    assert net.net is mine
    x = torch.randn(2, 3, 32, 32)
    with watch(net, "*"):
        net.net(x)
    with tap(net, "blocks.1, stem") as taps:
        taps.gradients(net.logits(x)[:, 0])
    assert facts() == before
    net.twin()
    assert facts() == before


def test_a_module_in_training_mode_is_copied(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny().train()
    net = open_specimen(mine, recipe=32)
    assert net.net is not mine
    assert mine.training
    assert mine.blocks.training  # type: ignore[union-attr]
    assert not any(module.training for module in net.net.modules())
    assert any("training mode" in note for note in net.notes)
    partly = tiny()
    partly.head.train()  # type: ignore[union-attr]
    assert open_specimen(partly, recipe=32).net is not partly


def test_wrappers_whose_hooks_never_fire_are_opened(tiny: Callable[..., nn.Module]) -> None:
    mine = tiny()
    net = open_specimen(nn.DataParallel(mine).eval(), recipe=32)
    assert net.net is mine
    assert any("DataParallel" in note for note in net.notes)


def test_residual_branches_that_are_switched_off_are_noted() -> None:
    net = open_specimen("timm:resnet18", weights=None)
    assert any("8 of 20 norms" in note and "only the shortcuts pass" in note for note in net.notes)
    assert not any("shortcuts" in note for note in net.twin().notes)
    lively = open_specimen("timm:resnet18", weights=None, zero_init_last=False)
    assert not any("shortcuts" in note for note in lively.notes)
