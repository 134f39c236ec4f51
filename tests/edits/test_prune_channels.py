"""Pruning: the law of edits, hand-sliced networks, every kind of network, one sentence for everything that cannot be."""

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import networks, testing
from microtome.edit import parse
from microtome.edits.prune_channels import prune
from microtome.errors import BadOption, MicrotomeError, MissingExtra, Uneditable, Unmeasurable
from microtome.specimen.calibration import estimate_statistics

Prune = mt.edits.prune_channels.PruneChannels


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(24)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mini_resnet", {"images": "scenes:24", "iterations": 2}),
        ("mini_vgg", {"criterion": "bn_scale", "ratio": 0.5}),
        ("mini_deit", {"criterion": "taylor", "images": "scenes:24"}),
    ],
)
def test_the_law(name: str, options: dict[str, Any], pics: mt.Images, tmp_path: Path) -> None:
    edited = testing.check_edit(Prune(**options), mt.open(f"microtome:{name}"), pics, tmp_path)
    assert edited.edits[-1].preserves == "no" and "kept" not in edited.name
    if options.get("images"):
        assert "top-1 accuracy on 12 other images" in edited.edits[-1].line


class Chain(nn.Module):
    """Two convolutions with a batch norm between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn, self.conv2, self.fc = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv2(self.bn(self.conv1(x)).relu()).mean((2, 3)))


def test_the_smallest_norms_go_as_sliced_by_hand() -> None:
    torch.manual_seed(0)
    net, hand = Chain().eval(), Chain().eval()
    sizes = {"conv1": (3.0, 0.1, 2.0, 0.2, 4.0, 5.0), "conv2": (0.3, 2.0, 3.0, 1.0)}
    with torch.no_grad():
        for name, each in sizes.items():
            layer = net.get_submodule(name)
            layer.weight.mul_(torch.tensor(each).reshape(-1, 1, 1, 1) * 3)
        net.bn.running_mean.normal_()
    edited = Prune(ratio=0.3)(mt.open(net, recipe={"size": 16}))
    first, second = [0, 2, 4, 5], [1, 2]  # 30% of 6 and of 4, rounded up: 2 each
    hand.conv1, hand.bn, hand.conv2, hand.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3), nn.Linear(2, 2)
    with torch.no_grad():
        hand.conv1.weight.copy_(net.conv1.weight[first])
        hand.conv1.bias.copy_(net.conv1.bias[first])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(hand.bn, name).copy_(getattr(net.bn, name)[first])
        hand.conv2.weight.copy_(net.conv2.weight[second][:, first])
        hand.conv2.bias.copy_(net.conv2.bias[second])
        hand.fc.weight.copy_(net.fc.weight[:, second])
        hand.fc.bias.copy_(net.fc.bias)
        x = torch.randn(3, 3, 16, 16)
        assert torch.equal(edited.net(x), hand.eval()(x))


@pytest.mark.parametrize("name", [name for name in networks.SHIPPED if name.startswith("mini_")])
def test_every_mini_network(name: str, tmp_path: Path) -> None:
    _prune_and_reopen(mt.open(f"microtome:{name}"), tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:resnet18", {"zero_init_last": False}),
        ("timm:vgg11", {"num_classes": 10}),
        ("timm:densenet121", {"block_config": (2, 2, 2)}),
        ("timm:convnext_atto", {}),
        ("timm:deit_tiny_patch16_224", {"img_size": 64, "depth": 2}),
        ("timm:swin_tiny_patch4_window7_224", {"img_size": 64, "depths": (2, 2), "num_heads": (3, 6)}),
        ("timm:mobilenetv3_small_050", {}),
    ],
)
def test_networks_of_timm(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    edited = _prune_and_reopen(mt.open(name, weights=None, recipe={"size": 64}, **options), tmp_path)
    if "deit" in name:
        assert [block.attn.num_heads for block in edited.net.blocks] == [2, 2]
    if "swin" in name:
        attention = edited.net.layers[1].blocks[0].attn
        assert attention.num_heads == 4 and attention.relative_position_bias_table.shape[1] == 4


def _prune_and_reopen(specimen: mt.Specimen, folder: Path) -> mt.Specimen:
    before, x = specimen.digest(), specimen.noise(2)
    edited = Prune(ratio=0.3)(specimen)
    assert specimen.digest() == before
    change = edited.edits[-1]
    assert change.multiply_adds[1] < 0.8 * change.multiply_adds[0] and change.parameters[1] < change.parameters[0]
    again = mt.open(edited.save(folder / "pruned.safetensors"))
    assert again.digest() == edited.digest()
    one, two, wide = (each.pick(each.run(x)) for each in (edited, again, specimen))
    assert torch.equal(one, two) and one.shape == wide.shape
    return edited


def test_heads_and_mlp_apart() -> None:
    net = mt.open("microtome:mini_deit")
    only_heads, only_mlp = Prune(mlp=False)(net).net, Prune(heads=False)(net).net
    assert only_heads.blocks[0].mlp.fc1.out_features == net.net.blocks[0].mlp.fc1.out_features
    assert only_heads.blocks[0].attn.num_heads < net.net.blocks[0].attn.num_heads == only_mlp.blocks[0].attn.num_heads
    with pytest.raises(Uneditable, match="nothing is left to remove"):
        Prune(heads=False, mlp=False)(net)


def test_a_saved_network_opens_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = mt.open("microtome:mini_vgg")
    edited = Prune()(net)
    path = edited.save(tmp_path / "pruned.safetensors")
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    assert mt.open(path).digest() == edited.digest()
    with pytest.raises(MissingExtra, match=r"install it with: pip install 'microtome\[prune\]'\.$"):
        Prune()(net)


def test_statistics_are_those_of_the_chosen_images(pics: mt.Images) -> None:
    net = mt.open("microtome:mini_resnet")
    plain, calibrated = Prune()(net), prune(net, pics)
    chosen = pics.content_order()[::2]
    x = net.recipe.normalise(torch.from_numpy(pics.inputs(net.recipe, chosen.tolist())))
    twin = copy.deepcopy(plain.net)
    estimate_statistics(twin, [x])
    for name, value in twin.state_dict().items():
        assert torch.allclose(value, calibrated.net.state_dict()[name], rtol=1e-4, atol=1e-5), name
    assert not torch.equal(plain.net.layer4[0].bn1.running_mean, calibrated.net.layer4[0].bn1.running_mean)
    assert "without new statistics of its norms, since no images are given" in plain.edits[-1].line
    assert "norms on 12 images" in calibrated.edits[-1].line


def test_one_sentence_for_what_cannot_be() -> None:
    net = mt.open("microtome:mini_vgg")
    cases: list[tuple[Any, type[MicrotomeError], str]] = [
        (lambda: Prune(criterion="taylr"), BadOption, "it takes magnitude, bn_scale, taylor. Did you mean 'taylor'?"),
        (lambda: Prune(ratio=0), BadOption, "option ratio is 0.0; it takes 0.01 to 0.99."),
        (lambda: Prune(ratio=1), BadOption, "option ratio is 1.0; it takes 0.01 to 0.99."),
        (lambda: Prune(criterion="taylor")(net), Uneditable, "taylor needs labelled images; name them with images=FOLDER"),
        (lambda: Prune(kept="nonsense")(net), BadOption, "option kept holds no record"),
        (lambda: Prune(images="scenes:2")(net), Unmeasurable, "needs 4 images at least"),
        (lambda: Prune(criterion="bn_scale")(mt.open("microtome:mini_deit")), Uneditable, "take criterion=magnitude"),
    ]
    for call, kind, words in cases:
        with pytest.raises(kind) as error:
            call()
        assert words in str(error.value) and "\n" not in str(error.value)


def test_as_it_is_typed() -> None:
    edit = parse("prune_channels:0.5,criterion=taylor,images=scenes:40,heads=false")
    assert edit == Prune(ratio=0.5, criterion="taylor", images="scenes:40", heads=False)
    assert edit.to_cli() == "prune_channels:0.5,criterion=taylor,heads=false,images=scenes:40"
