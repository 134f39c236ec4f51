"""The layer that `deep` stands for, on the networks where other tools take the wrong one, and the reason in words."""

import pytest
import torch

import microtome as mt
from map_networks import Twice, noise, opened
from microtome.instruments.attribution import visible_layers
from microtome.instruments.attribution.layer_reasons import layer_reason

TOKENS = "deep: the last layer of this block whose patch tokens the class score depends on"
STAGE = "deep: the end of the last stage"
# Network, its options, side of the input, the layers that `deep` stands for, their layout and grids, and the reason.
BRANCHES = "deep: one of 4 branches at the end of the last stage"
NETWORKS = {
    "vgg19": ("timm:vgg19", {}, 64, None, "nchw", STAGE),
    "resnet50": ("timm:resnet50", {"zero_init_last": False}, 64, ("layer4",), "nchw", STAGE),
    "seresnet50": ("timm:seresnet50", {"zero_init_last": False}, 64, ("layer4",), "nchw", STAGE),
    "inception": ("timm:inception_v3", {}, 128, ("Mixed_7c",), "nchw", STAGE),
    "densenet": ("timm:densenet121", {}, 64, None, "nchw", STAGE),
    "convnext": ("timm:convnext_atto", {}, 64, ("stages.3",), "nchw", STAGE),
    "mobilenet": ("timm:mobilenetv3_small_050", {}, 64, None, "nchw", STAGE),
    "efficientformer": ("timm:efficientformer_l1", {}, 224, None, "", ""),
    "hrnet": ("timm:hrnet_w18_small", {}, 64, tuple(f"stage4[{branch}]" for branch in range(4)), "nchw", BRANCHES),
    "deit": ("timm:deit_tiny_patch16_224", {"depth": 3, "img_size": 64}, 64, ("blocks.2.norm1",), "tokens", TOKENS),
    "vit": ("timm:vit_tiny_patch16_224", {"depth": 3, "img_size": 64}, 64, ("blocks.2.norm1",), "tokens", TOKENS),
    "swin": ("timm:swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 2}, 64, ("layers.3",), "nhwc", STAGE),
    "maxvit": ("timm:maxvit_pico_rw_256", {"img_size": 64}, 64, ("stages.3.blocks.1.attn_grid",), "nhwc", STAGE),
    "squeezenet": ("torchvision:squeezenet1_1", {}, 64, None, "nchw", STAGE),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_deep_layer_has_positions_and_the_class_score_depends_on_them(name):
    source, options, size, wanted, layout, reason = NETWORKS[name]
    options = options if source.startswith("torchvision") else {"num_classes": 5, **options}
    specimen = mt.open(source, weights=None, recipe={"size": size}, **options)
    names = specimen.aliases["deep"]
    assert wanted is None or names == wanted
    shown = visible_layers(specimen, ["deep"], noise(1, size, size))
    assert shown.names and set(shown.names) <= set(names) and not shown.dropped
    head = specimen.head
    for layer in shown.names:
        assert specimen.layer(layer).path != head and specimen.layer(layer).units != specimen.outputs
        assert not layout or specimen.layer(layer).layout == layout
        assert layer_reason(specimen, layer).startswith(reason or "deep: ")
    rows, cols = specimen.layer(shown.names[0]).grid
    assert f"({rows} x {cols} positions" in layer_reason(specimen, shown.names[0])


def test_branches_have_a_map_each():
    specimen = mt.open("timm:hrnet_w18_small", weights=None, num_classes=5, recipe={"size": 64})
    shown = visible_layers(specimen, ["stage3"], noise(1, 64, 64))
    assert shown.names == ("stage3[0]", "stage3[1]", "stage3[2]")
    assert layer_reason(specimen, "stage3[1]") == "middle: one of 3 branches at the end of the middle stage (8 x 8 positions)"


def test_calls_groups_and_layers_named_by_hand():
    specimen = opened(Twice().eval())
    assert "call 2 of 2" in layer_reason(specimen, "act#1")
    resnet = mt.open("timm:resnet18", weights=None, recipe={"size": 64})
    assert layer_reason(resnet, "layer4.0") == "one of the last three blocks (2 x 2 positions)"
    assert layer_reason(resnet, "layer1.0.bn1").startswith("norm, named by hand (16 x 16")
    assert layer_reason(resnet, "layer1.0.conv1").startswith("one of the convolutions")
    assert torch.is_grad_enabled()
