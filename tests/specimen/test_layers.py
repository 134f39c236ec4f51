from collections.abc import Callable
from typing import Any

import pytest
import torch
from odd_network import Odd
from torch import Tensor, nn

from microtome.errors import SpecimenError, UnknownName, Unmeasurable
from microtome.opening.opening import open as open_specimen
from microtome.specimen import Specimen, watch


@pytest.fixture(scope="module")
def odd() -> Specimen:
    return open_specimen(Odd().eval(), recipe={"size": (12, 20), "crop": 1.0})


def test_names_in_execution_order(odd: Specimen) -> None:
    # by hand from Odd.forward
    assert [layer.name for layer in odd.layers] == [
        "stem", "relu#0", "many.0", "relu#1", "many.1", "relu#2", "split[0]", "split[1]", "table", "head"
    ]  # fmt: skip
    assert [layer.order for layer in odd.layers] == list(range(10))
    assert [layer.kind for layer in odd.layers] == ["conv", "act"] + ["conv", "act"] * 2 + ["other"] * 3 + ["head"]


def test_facts_of_layers(odd: Specimen) -> None:
    stem, branch, relu, head = (odd.layer(name) for name in ("stem", "split[1]", "relu#2", "head"))
    assert (stem.shape, stem.layout, stem.grid, stem.units) == ((4, 12, 20), "nchw", (12, 20), 4)
    assert stem.parameters == 4 * 3 * 9 + 4
    assert (branch.shape, branch.grid, branch.branch, branch.path) == ((4, 6, 10), (6, 10), 1, "split")
    assert (relu.calls, relu.call, relu.path) == (3, 2, "relu")
    assert (head.layout, head.units, head.grid) == ("vector", 7, None)
    assert odd.outputs == 7
    assert odd.head == "head"


def test_a_path_stands_for_all_its_calls_and_branches(odd: Specimen) -> None:
    assert odd.find("relu") == ["relu#0", "relu#1", "relu#2"]
    assert odd.find("split") == ["split[0]", "split[1]"]
    assert odd.find("split[1]") == ["split[1]"]
    assert odd.find("split[[]?]") == ["split[0]", "split[1]"]
    assert odd.find("head, s*") == ["stem", "split[0]", "split[1]", "head"]
    assert odd.layer("split").name == "split[0]"
    with pytest.raises(UnknownName, match="Did you mean 'stem'"):
        odd.find("stm")
    with pytest.raises(UnknownName):
        odd.find(" , ")


def test_containers_come_after_their_content(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:resnet50", (64, 64))
    place = {layer.name: layer.order for layer in net.layers}
    assert {"layer1", "layer1.0", "layer1.0.conv1"} <= place.keys()
    for layer in net.layers:
        parent = layer.path.rpartition(".")[0]
        if parent in place:
            assert place[parent] > layer.order, layer.name


@pytest.mark.parametrize(
    ("what", "size", "layer", "layout", "grid", "units", "prefix"),
    [
        # strides by hand: resnet 32, ViT patch 16, swin patch 4 then 2 x 2 merges, convnext stride 4
        ("timm:resnet50", (64, 64), "layer3", "nchw", (4, 4), 1024, 0),
        ("timm:deit_tiny_patch16_224", None, "blocks.3.norm1", "tokens", (14, 14), 192, 1),
        ("timm:swin_tiny_patch4_window7_224", None, "layers.1", "nhwc", (28, 28), 192, 0),
        ("timm:swin_tiny_patch4_window7_224", None, "layers.2.blocks.0.mlp", "tokens", (14, 14), 384, 0),
        ("timm:convnext_tiny", (64, 64), "stages.1.blocks.0.norm", "nhwc", (8, 8), 192, 0),
        ("timm:convnext_tiny", (64, 64), "stages.1.blocks.0", "nchw", (8, 8), 192, 0),
        ("timm:hrnet_w18", (64, 64), "stage4[2]", "nchw", (4, 4), 72, 0),
        ("torchvision:vit_b_16", None, "encoder.layers.encoder_layer_2", "tokens", (14, 14), 768, 1),
        ("timm:vgg19", (64, 96), "features.35", "nchw", (4, 6), 512, 0),
        ("timm:inception_v3", (139, 139), "Mixed_6a", "nchw", (7, 7), 768, 0),
    ],
)
def test_layouts(
    opened: Callable[..., Specimen], what: str, size: Any, layer: str, layout: str, grid: Any, units: int, prefix: int
) -> None:
    found = opened(what, size).layer(layer)
    assert (found.layout, found.grid, found.units, found.prefix) == (layout, grid, units, prefix)


def test_heads_of_attention_are_not_taken_for_channels(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:deit_tiny_patch16_224")
    assert net.layer("blocks.0.attn.q_norm").layout == "other"  # (head, token, feature)
    assert net.layer("blocks.0.attn.qkv").layout == "tokens"


def test_maps_put_tokens_where_their_patches_are(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:deit_tiny_patch16_224")
    proj = net.layer("patch_embed.proj")
    norm = net.layer("patch_embed.norm")
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with watch(net, ["patch_embed.proj", "patch_embed.norm", "blocks.0.norm1"]) as seen, torch.no_grad():
        net.net(x)
    # the embedding's norm is an identity here, so tokens must be the very values of the convolution, cell by cell
    assert torch.equal(norm.maps(seen["patch_embed.norm"]), proj.maps(seen["patch_embed.proj"]))
    maps = net.layer("blocks.0.norm1").maps(seen["blocks.0.norm1"])
    assert maps.shape == (2, 192, 14, 14)
    assert torch.equal(maps[1, :, 2, 5], seen["blocks.0.norm1"][1, 1 + 2 * 14 + 5])


def test_maps_of_channels_last_and_vectors(opened: Callable[..., Specimen]) -> None:
    net = opened("timm:convnext_tiny", (64, 64))
    value = torch.randn(2, 8, 8, 192)
    assert torch.equal(net.layer("stages.1.blocks.0.norm").maps(value)[:, 7, 2, 3], value[:, 2, 3, 7])
    assert net.layer("head.fc").maps(torch.zeros(2, 1000)).shape == (2, 1000, 1, 1)
    swin = opened("timm:swin_tiny_patch4_window7_224")
    with pytest.raises(SpecimenError, match="cannot be identified"):
        swin.layer("layers.0.blocks.0.attn").maps(torch.zeros(128, 49, 96))


def test_sequence_first_attention_has_one_image_per_shape() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Conv2d(3, 8, 4, 4)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.proj(x).flatten(2).permute(2, 0, 1)).mean(0)

    net = open_specimen(First().eval(), recipe=16)
    assert net.layer("layer").shape == (16, 8)
    assert (net.layer("layer.norm1").layout, net.layer("layer.norm1").grid) == ("tokens", (4, 4))


def test_a_network_without_submodules() -> None:
    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    net = open_specimen(Bare().eval(), recipe=8)
    assert net.layers == ()
    assert net.blocks == ()
    assert any("no submodules" in note for note in net.notes)
    with pytest.raises(Unmeasurable, match="'last' matches no layer"):
        net.find("last")


def test_logits_take_the_first_tensor() -> None:
    class Wrapped(nn.Module):
        def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
            super().__init__()
            self.fc, self.wrap = nn.Linear(3, 5), wrap

        def forward(self, x: Tensor) -> Any:
            return self.wrap(self.fc(x.mean((2, 3))))

    x = torch.randn(2, 3, 8, 8)
    for wrap in (
        lambda y: y,
        lambda y: (y, y),
        lambda y: {"out": y},
        lambda y: {"loss": 0, "logits": y},
        lambda y: y[:, :, None, None],
    ):
        net = open_specimen(Wrapped(wrap).eval(), recipe=8)
        assert net.logits(x).shape == (2, 5)
        assert net.outputs == 5
    maps = open_specimen(nn.Sequential(nn.Conv2d(3, 2, 1)).eval(), recipe=8)
    assert maps.outputs is None
    with pytest.raises(SpecimenError, match="not one score per class"):
        maps.logits(x)
