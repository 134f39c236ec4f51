"""Calls that build a slimmed network: found where a library can, renumbered rightly, and none where it cannot."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.edits.remove_blocks import RemoveBlocks
from microtome.export.architecture import find_architecture, kept_children, renumbered_names

RESNET = {"layers": (1, 3, 1, 1), "num_classes": 5, "zero_init_last": False}
VIT = {"depth": 4, "embed_dim": 24, "num_heads": 2, "num_classes": 5, "img_size": 32, "patch_size": 8}


def loaded(specimen: mt.Specimen, blocks: tuple[str, ...]) -> tuple[nn.Module, nn.Module, str]:
    """The edited network, and what the call that was found builds with its weights."""
    edited = RemoveBlocks(at=blocks)(specimen).net
    found = find_architecture(specimen, blocks, edited)
    assert found is not None
    built = found.build()
    built.load_state_dict({found.names[name]: value for name, value in edited.state_dict().items()})
    return edited, built, found.code


@pytest.mark.parametrize(
    ("name", "options", "block", "argument"),
    [
        ("timm:resnet18", RESNET, "layer2.1", "layers=[1, 2, 1, 1]"),
        ("timm:vit_tiny_patch16_224", VIT, "blocks.1", "depth=3"),
        ("torchvision:resnet18", {"num_classes": 5}, "layer3.1", "layers=[2, 2, 1, 2]"),
    ],
)
def test_a_library_builds_it_with_the_same_outputs(name: str, options: dict, block: str, argument: str) -> None:
    specimen = mt.open(name, weights=None, recipe={"size": 32}, **options)
    edited, built, code = loaded(specimen, (block,))
    assert argument in code
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = edited(x)
        assert (built(x) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
        assert (specimen.net(x) - wanted).abs().max() > 1e-3 * wanted.abs().max()  # the removal is no identity


def test_children_are_renumbered_without_gaps() -> None:
    specimen = mt.open("timm:resnet18", weights=None, recipe={"size": 32}, **RESNET)
    kept = kept_children(specimen, ("layer2.1",))
    assert kept is not None and kept["layer2"] == (["0", "1", "2"], ["0", "2"])
    names = renumbered_names(RemoveBlocks(at=("layer2.1",))(specimen).net, kept)
    assert (
        names["layer2.2.conv1.weight"] == "layer2.1.conv1.weight" and names["layer2.0.conv1.weight"] == "layer2.0.conv1.weight"
    )
    assert names["fc.weight"] == "fc.weight"


def test_none_for_networks_of_our_own_and_for_modules() -> None:
    specimen = mt.open("microtome:mini_resnet")
    assert find_architecture(specimen, ("layer4.1",), RemoveBlocks(at=("layer4.1",))(specimen).net) is None
