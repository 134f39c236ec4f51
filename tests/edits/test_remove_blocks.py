"""Blocks removed: the law of edits, and every kind of network against a removal written by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import testing
from microtome.edit import parse
from microtome.errors import Uneditable
from microtome.networks.stand_ins import LinearBlock

Remove = mt.edits.remove_blocks.RemoveBlocks


@pytest.fixture(scope="module")
def pics() -> mt.Images:
    return mt.Images.scenes(6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mini_resnet", {"at": ("layer4.1",)}),
        ("mini_resnet", {"at": ("layer2.0",), "fill": "linear"}),
        ("mini_deit", {"at": ("-2",)}),
        ("mini_hrnet", {"at": ("stage3.1",), "fill": "linear"}),
        ("mini_densenet", {"at": ("features.denseblock2.denselayer3", "-1")}),
        ("mini_vgg", {"at": ("features.18",)}),
        ("mini_vgg", {"at": ("features.15",), "fill": "remake"}),
        ("mini_inception", {"at": ("Mixed_7b",)}),
    ],
    ids=str,
)
def test_the_law_of_edits(name: str, options: dict[str, Any], pics: mt.Images, tmp_path) -> None:
    net = mt.open(f"microtome:{name}")
    edited = testing.check_edit(Remove(**options), net, pics, tmp_path)
    assert edited.edits[-1].parameters[1] < edited.edits[-1].parameters[0]
    assert edited.edits[-1].multiply_adds[1] < edited.edits[-1].multiply_adds[0]


def _through(path: str) -> Callable[[nn.Module], None]:
    """By hand: the module hands on its first argument."""

    def change(net: nn.Module) -> None:
        net.get_submodule(path).forward = lambda x: x  # a module of an HRNet changes the list that it gets

    return change


def _branch_off(*ends: str) -> Callable[[nn.Module], None]:
    """By hand: the last layers of a residual branch give zeros."""

    def change(net: nn.Module) -> None:
        for path in ends:
            net.get_submodule(path).register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))

    return change


def _layers_off(*paths: str) -> Callable[[nn.Module], None]:
    """By hand: convolution, norm and activation each hand on what they get."""

    def change(net: nn.Module) -> None:
        for path in paths:
            _through(path)(net)

    return change


# each network, the block, and the same by hand: where there is a shortcut by switching the branch off, so that no code is shared
BY_HAND: dict[str, tuple[dict[str, Any], str, Callable[[nn.Module], None]]] = {
    "timm:resnet18": ({"zero_init_last": False}, "layer3.1", _branch_off("layer3.1.bn2")),
    "timm:resnet50": ({"zero_init_last": False}, "layer4.1", _branch_off("layer4.1.bn3")),
    "torchvision:resnet18": ({}, "layer4.1", _branch_off("layer4.1.bn2")),
    "timm:vit_tiny_patch16_224": ({"img_size": 64}, "blocks.10", _branch_off("blocks.10.attn", "blocks.10.mlp")),
    "timm:deit_tiny_patch16_224": ({"img_size": 64}, "blocks.3", _branch_off("blocks.3.attn", "blocks.3.mlp")),
    "timm:convnext_atto": ({}, "stages.2.blocks.4", _branch_off("stages.2.blocks.4.mlp")),
    "timm:swin_tiny_patch4_window7_224": (
        {"img_size": 64}, "layers.2.blocks.4", _branch_off("layers.2.blocks.4.attn", "layers.2.blocks.4.mlp"),
    ),
    "timm:hrnet_w18_small_v2": ({}, "stage4.1", _through("stage4.1")),
    "timm:inception_v3": ({"size": 128}, "Mixed_7c", _through("Mixed_7c")),
    "timm:vgg11": ({}, "features.18", _layers_off("features.18", "features.19")),
    "timm:mobilenetv3_small_050": ({}, "blocks.2.1", _branch_off("blocks.2.1.bn3")),
    "timm:regnetx_002": ({"zero_init_last": False}, "s4.b5", _branch_off("s4.b5.conv3.bn")),
    "timm:efficientnet_b0": ({}, "blocks.4.1", _branch_off("blocks.4.1.bn3")),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_as_removed_by_hand(name: str, tmp_path) -> None:
    options, block, by_hand = BY_HAND[name]
    options = dict(options)
    size = options.pop("size", 64)
    net = mt.open(name, weights=None, recipe={"size": size}, **options)
    for parameter_name, parameter in net.net.named_parameters():
        if parameter_name.endswith(".gamma"):  # of a ConvNeXt, 1e-6 without training: its branches would count for nothing
            parameter.data.fill_(0.5)
    before, digest = testing.fingerprint(net.net), net.digest()
    edited = Remove(at=(block,))(net)
    assert testing.fingerprint(net.net) == before
    net.__dict__.pop("_digest")
    assert net.digest() == digest
    other = mt.open(name, weights=None, recipe={"size": size}, **options)
    other.net.load_state_dict(net.net.state_dict())
    by_hand(other.net)
    x = net.noise(2)
    torch.testing.assert_close(edited.run(x), other.run(x), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(edited.run(x), net.run(x), rtol=1e-3)
    again = mt.open(edited.save(tmp_path / "slim.safetensors"))
    assert torch.equal(again.run(x), edited.run(x))
    assert again.digest() == edited.digest()
    gone = sum(p.numel() for n, p in net.net.named_parameters() if n.startswith(f"{block}."))
    assert net.edits == ()
    assert edited.edits[-1].parameters == (sum(p.numel() for p in net.net.parameters()), net_parameters(edited))
    assert edited.edits[-1].parameters[0] - edited.edits[-1].parameters[1] >= gone > 0


def net_parameters(specimen: mt.Specimen) -> int:
    """How many parameters its network has."""
    return sum(parameter.numel() for parameter in specimen.net.parameters())


@pytest.mark.parametrize("name", ["timm:densenet121", "torchvision:densenet121", "microtome:mini_densenet"])
def test_dense_layers_as_if_nothing_read_their_channels(name: str) -> None:
    """By hand: every convolution and the head that read a layer's channels have zeros for them."""
    net = mt.open(name, weights=None, recipe={"size": 64})
    block = "features.denseblock2.denselayer2"
    edited = Remove(at=(block,))(net)
    other = mt.open(name, weights=None, recipe={"size": 64})
    other.net.load_state_dict(net.net.state_dict())
    growth = other.net.get_submodule(f"{block}.conv2").out_channels
    start = other.net.get_submodule(f"{block}.norm1").num_features
    home = other.net.get_submodule("features.denseblock2")
    readers = [layer.conv1 for place, layer in enumerate(home.children()) if place > 1]
    for conv in [*readers, other.net.get_submodule("features.transition2.conv")]:
        with torch.no_grad():
            conv.weight[:, start : start + growth] = 0
    x = net.noise(2)
    torch.testing.assert_close(edited.run(x), other.run(x), rtol=1e-4, atol=1e-6)
    narrower = edited.net.get_submodule("features.transition2.conv").in_channels
    assert narrower == other.net.get_submodule("features.transition2.conv").in_channels - growth


def test_a_linear_map_in_place_begins_as_the_identity() -> None:
    net = mt.open("microtome:mini_deit")
    x = net.noise(2)
    torch.testing.assert_close(Remove(at=("-2",), fill="linear")(net).run(x), Remove(at=("-2",))(net).run(x))
    edited = Remove(at=("layer2.0",), fill="linear")(mt.open("microtome:mini_resnet"))
    block = edited.net.get_submodule("layer2.0")
    assert isinstance(block, LinearBlock)
    maps = torch.randn(1, 24, 16, 16)
    torch.testing.assert_close(block(maps)[:, :24], nn.functional.avg_pool2d(maps, 2))
    assert not block(maps)[:, 24:].any()


def test_words_of_the_command_line() -> None:
    assert parse("remove_blocks:layer4.1,layer3.1") == Remove(at=("layer4.1", "layer3.1"))
    assert parse("remove_blocks:-2,fill=linear") == parse("remove_blocks:at=-2,fill=linear")
    edited = parse("remove_blocks:-2,fill=linear")(mt.open("microtome:mini_resnet"))
    assert edited.name == "microtome:mini_resnet + remove_blocks:layer4.1,fill=linear"
    assert "removed 1 block (layer4.1), a linear map in its place" in edited.edits[-1].line
    assert [block.name for block in Remove(at=("layer4.1",))(edited_again()).blocks].count("layer4.1") == 0


def edited_again() -> mt.Specimen:
    """A network that lost another block before."""
    return Remove(at=("layer3.1",))(mt.open("microtome:mini_resnet"))


@pytest.mark.parametrize(
    ("name", "word", "reason"),
    [
        ("mini_resnet", "remove_blocks", "no block is named"),
        ("mini_resnet", "remove_blocks:layer9", "No block is called 'layer9'"),
        ("mini_resnet", "remove_blocks:layer2.0", "turns 24×16×16 into 32×8×8.*fill=linear"),
        ("mini_vgg", "remove_blocks:features.15", "turns 32×8×8 into 56×8×8.*fill=linear.*fill=remake"),
        ("mini_resnet", "remove_blocks:layer*", "every block that it has"),
    ],
)
def test_refusals(name: str, word: str, reason: str) -> None:
    with pytest.raises(Uneditable, match=reason):
        parse(word)(mt.open(f"microtome:{name}"))
