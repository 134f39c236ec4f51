"""Group norms for batch norms: the law of edits, the rounding, the two ends (layer and instance norm), the closed form's gradient gain."""

from math import pi
from pathlib import Path

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.edits.group_norm import GroupNorm, nearest_groups
from microtome.errors import Uneditable


@pytest.mark.parametrize("name", ["microtome:mini_resnet", "timm:resnet10t"])
def test_the_law_of_edits(name: str, tmp_path: Path) -> None:
    net = mt.open(name, weights=None, recipe={"size": 64})
    edited = testing.check_edit(GroupNorm(groups=8), net, mt.Images.scenes(8, seed=4, size=64), tmp_path)
    assert not [part for part in edited.net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert edited.edits[-1].preserves == "no"


def test_scales_activations_and_paths_are_kept(tmp_path: Path) -> None:
    net = mt.open("timm:efficientnet_b0", weights=None, recipe={"size": 64})  # norm and activation in one module
    edited = GroupNorm(at=("bn1",))(net)
    assert isinstance(edited.net.bn1[0], nn.GroupNorm) and type(edited.net.bn1[1]) is type(net.net.bn1.act)
    assert torch.equal(edited.net.bn1[0].weight, net.net.bn1.weight)
    with pytest.raises(Uneditable, match="no batch norm"):
        GroupNorm()(mt.open("timm:vit_tiny_patch16_224", weights=None, img_size=64, depth=1, recipe={"size": 64}))


def test_a_number_for_each_layer_and_group_norms_regrouped(tmp_path: Path) -> None:
    net = mt.open("microtome:mini_resnet", weights=None)
    chosen = ("layer3.0.bn1", "layer1.0.bn1")  # not in the order of execution: numbers follow `at`
    edited = GroupNorm(at=chosen, groups=(4, 8))(net)
    assert [edited.net.get_submodule(path).num_groups for path in chosen] == [4, 8]
    assert isinstance(edited.net.layer2[0].bn1, nn.BatchNorm2d)
    again = testing.check_edit(GroupNorm(at=chosen, groups=(2, 1)), edited, mt.Images.scenes(8, seed=4, size=64), tmp_path)
    assert [again.net.get_submodule(path).num_groups for path in chosen] == [2, 1]
    assert "gave 2 group norms other groups (groups: 1 of 1, 1 of 2)" in again.edits[-1].line
    assert torch.equal(again.net.layer3[0].bn1.weight, net.net.layer3[0].bn1.weight)
    with pytest.raises(Uneditable, match="3 numbers of groups are given for 2 norms"):
        GroupNorm(at=chosen, groups=(1, 2, 4))(net)
    assert GroupNorm(groups=8) == GroupNorm(groups=(8,)) == GroupNorm(groups="8")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("units", "groups", "least", "wanted"),
    [
        (64, 32, 2, 32),
        (64, 64, 2, 32),
        (64, 64, 1, 64),
        (24, 32, 2, 12),
        (56, 32, 2, 28),
        (24, 7, 1, 8),
        (7, 4, 2, 1),
        (1, 32, 2, 1),
    ],
)
def test_the_nearest_divisor_by_ratio(units: int, groups: int, least: int, wanted: int) -> None:
    """By hand; of 24 for 7: log(7/6) = .154 and log(8/7) = .134, so 8."""
    assert nearest_groups(units, groups, least) == wanted


def test_one_group_is_layer_norm_and_one_for_each_unit_is_instance_norm() -> None:
    x = torch.randn(3, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()
    wide = nn.Sequential(nn.Conv2d(3, 8, 1), *net)
    opened = mt.open(wide.eval(), recipe={"size": 5})
    one, many = GroupNorm(groups=1)(opened), GroupNorm(groups=8, least=1)(opened)
    torch.testing.assert_close(one.net[1](x), nn.functional.layer_norm(x, x.shape[1:]), atol=1e-5, rtol=0)
    torch.testing.assert_close(many.net[1](x), nn.functional.instance_norm(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("groups", [1, 16, 64])
def test_the_gradient_gain_is_the_closed_form(groups: int) -> None:
    """Convolution 64 to 64, group norm, rectifier on half-normal maps: 1 / (1 - G / (64 pi)): 1.005, 1.087, 1.467; measured within 6 %."""
    generator = torch.Generator().manual_seed(groups)
    gains = []
    for _ in range(12):
        x = torch.randn(2, 64, 12, 12, generator=generator).relu().requires_grad_()
        around = nn.functional.pad(x, (1, 1, 1, 1), mode="circular")  # zeros at the edges would lower the variance there
        weight = torch.randn(64, 64, 3, 3, generator=generator) * 0.05
        out = nn.functional.group_norm(nn.functional.conv2d(around, weight), groups).relu()
        given = torch.randn(out.shape, generator=generator)
        (slope,) = torch.autograd.grad((out * given).sum(), x)
        gains.append(float(slope.square().mean() / given.square().mean()))
    assert sum(gains) / len(gains) == pytest.approx(1 / (1 - groups / (64 * pi)), rel=0.06)
