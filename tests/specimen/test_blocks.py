from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn

from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen

SMALL = (64, 64)


@pytest.mark.parametrize(
    ("what", "size", "count", "first", "last"),
    [
        # counts of the papers: ResNet-50 3+4+6+3, VGG-19 16 convolutions, Inception-v3 3+5+3 (with two reductions),
        # DenseNet-121 6+12+24+16, ConvNeXt-T 3+3+9+3, Swin-T 2+2+6+2, EfficientNet-B0 1+2+2+3+3+4+1, MobileNetV3-L 15,
        # RegNetY-200MF 1+1+4+7, HRNet-W18 4 bottlenecks and 1+4+3 modules, GoogLeNet 9, SqueezeNet 8, ViT 12
        ("timm:resnet50", SMALL, 16, "layer1.0", "layer4.2"),
        ("timm:seresnet50", SMALL, 16, "layer1.0", "layer4.2"),
        ("timm:vgg19", (64, 96), 16, "features.0", "features.34"),
        ("timm:inception_v3", (139, 139), 11, "Mixed_5b", "Mixed_7c"),
        ("timm:hrnet_w18", SMALL, 12, "layer1.0", "stage4.2"),
        ("timm:hrnet_w18_small", SMALL, 4, "layer1.0", "stage4.0"),  # one module in each stage, a head six times as large
        ("timm:deit_tiny_patch16_224", None, 12, "blocks.0", "blocks.11"),
        ("timm:densenet121", SMALL, 58, "features.denseblock1.denselayer1", "features.denseblock4.denselayer16"),
        ("timm:convnext_tiny", SMALL, 18, "stages.0.blocks.0", "stages.3.blocks.2"),
        ("timm:swin_tiny_patch4_window7_224", None, 12, "layers.0.blocks.0", "layers.3.blocks.1"),
        ("timm:efficientnet_b0", SMALL, 16, "blocks.0.0", "blocks.6.0"),
        ("timm:mobilenetv3_large_100", SMALL, 15, "blocks.0.0", "blocks.5.2"),
        ("timm:regnety_002", SMALL, 13, "s1.b1", "s4.b7"),
        ("torchvision:googlenet", SMALL, 9, "inception3a", "inception5b"),
        ("torchvision:squeezenet1_1", SMALL, 8, "features.3", "features.12"),
        ("torchvision:vit_b_16", None, 12, "encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_11"),
        ("torchvision:alexnet", None, 5, "features.0", "features.10"),
        ("torchvision:mobilenet_v2", SMALL, 17, "features.1", "features.17"),
        ("torchvision:shufflenet_v2_x0_5", SMALL, 16, "stage2.0", "stage4.3"),
        ("timm:ghostnet_050", SMALL, 16, "blocks.0.0", "blocks.8.3"),
        # a stage with a closing norm, one that ends in a transition, blocks that are chains of three themselves, tokens in a block
        ("timm:pvt_v2_b0", SMALL, 8, "stages.0.blocks.0", "stages.3.blocks.1"),
        ("timm:cspdarknet53", SMALL, 23, "stages.0.blocks.0", "stages.4.blocks.3"),
        ("timm:xception41", (96, 96), 13, "blocks.0", "blocks.12"),
        ("timm:mobilevit_xxs", SMALL, 10, "stages.0.0", "stages.4.1"),
    ],
)
def test_blocks_of_known_networks(
    opened: Callable[..., Specimen], what: str, size: Any, count: int, first: str, last: str
) -> None:
    names = [block.name for block in opened(what, size).blocks]
    assert (len(names), names[0], names[-1]) == (count, first, last)


def test_which_blocks_keep_their_shape(opened: Callable[..., Specimen]) -> None:
    resnet = opened("timm:resnet50", SMALL)
    assert [block.name for block in resnet.blocks if not block.keeps_shape] == [f"layer{stage}.0" for stage in (1, 2, 3, 4)]
    inception = {block.name: block.keeps_shape for block in opened("timm:inception_v3", (139, 139)).blocks}
    assert inception["Mixed_7c"]
    assert not inception["Mixed_7b"]  # 1280 to 2048 units
    hrnet = {block.name: block.keeps_shape for block in opened("timm:hrnet_w18", SMALL).blocks}
    assert hrnet["stage4.1"]  # four branches in, the same four out
    dense = opened("timm:densenet121", SMALL)
    assert not any(block.keeps_shape for block in dense.blocks)


def test_parameters_of_blocks(opened: Callable[..., Specimen]) -> None:
    resnet = opened("timm:resnet50", SMALL)
    # layer4.1: 2048*512 + 512*512*9 + 512*2048 weights and 2 * (512 + 512 + 2048) of the norms
    assert resnet.block("layer4.1").parameters == 4462592
    vgg = opened("timm:vgg19", (64, 96))
    assert vgg.block("features.32").parameters == 512 * 512 * 9 + 512


def test_plain_groups_are_bounded_by_their_convolution_and_activation(opened: Callable[..., Specimen]) -> None:
    block = opened("timm:vgg19", (64, 96)).block("features.32")
    assert (block.entry, block.exit, block.keeps_shape) == ("features.32", "features.33", True)
    with_norm = open_specimen(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.ReLU()
        ).eval(),
        recipe=32,
    )
    assert [(block.entry, block.exit) for block in with_norm.blocks] == [("0", "2"), ("4", "5")]


def test_stages_count_up_with_the_grid(opened: Callable[..., Specimen]) -> None:
    assert Counter(block.stage for block in opened("timm:resnet50", SMALL).blocks) == {0: 3, 1: 4, 2: 6, 3: 3}
    assert Counter(block.stage for block in opened("timm:deit_tiny_patch16_224").blocks) == {0: 4, 1: 4, 2: 4}


def test_a_network_inside_a_wrapper_has_the_same_blocks(opened: Callable[..., Specimen]) -> None:
    class Wrapper(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    for what, size in (("timm:resnet50", SMALL), ("timm:vgg19", (64, 96)), ("timm:hrnet_w18", SMALL)):
        inner = opened(what, size)
        outer = open_specimen(Wrapper(inner.net).eval(), recipe=inner.recipe)
        assert [block.name for block in outer.blocks] == ["net." + block.name for block in inner.blocks]


def test_residual_blocks_of_a_users_own_network(net: Specimen) -> None:
    assert [block.name for block in net.blocks] == ["blocks.0", "blocks.1", "blocks.2"]
    assert all(block.keeps_shape for block in net.blocks)
