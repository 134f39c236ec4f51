"""Networks of the literature: parameter counts of the papers to the unit, layer by layer where they say it, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import networks
from microtome._torchvision import timm
from microtome.errors import BadOption, CheckpointError, UnknownName
from microtome.networks.banding import Coordinates, L2Pool, SpatialMasks
from microtome.numerics.graph.counts import count_multiply_adds

BC = {"bottleneck": 4, "compression": 0.5}


def built(name: str, **options: Any) -> nn.Module:
    """The network without memory for its parameters."""
    timm()
    with torch.device("meta"):
        return networks.build(name, **options)


def size(name: str, **options: Any) -> int:
    return sum(one.numel() for one in built(name, **options).parameters())


# Huang et al. 2017: ImageNet counts are those of the published networks (torchvision's 121, 169 and 201 have the same); CIFAR forms
# by the paper's rules, which it prints as 1.0, 7.0, 27.2, 0.8, 15.3 and 25.6 million
@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("densenet121", {}, 7_978_856),
        ("densenet169", {}, 14_149_480),
        ("densenet201", {}, 20_013_928),
        ("densenet264", {}, 33_337_704),
        ("densenet_cifar", {"depth": 40, "growth": 12}, 1_019_722),
        ("densenet_cifar", {"depth": 100, "growth": 12}, 6_979_642),
        ("densenet_cifar", {"depth": 100, "growth": 24}, 27_249_082),
        ("densenet_cifar", {"depth": 100, "growth": 12, **BC}, 769_162),
        ("densenet_cifar", {"depth": 250, "growth": 24, **BC}, 15_324_406),
        ("densenet_cifar", {"depth": 190, "growth": 40, **BC}, 25_624_430),
    ],
)
def test_parameters_of_densenets(name: str, options: dict[str, Any], count: int) -> None:
    assert size(name, **options) == count


def test_it_is_the_densenet_of_timm() -> None:
    theirs = timm().create_model("densenet121").eval()  # type: ignore[attr-defined]
    ours = networks.build("densenet121").eval()
    ours.load_state_dict(theirs.state_dict())  # every name and shape
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_a_plain_dense_block_by_hand() -> None:
    # every layer reads what entered the block and all layers before it: 16, 20, 24 maps; each adds 4
    net = networks.build("densenet_cifar", depth=13, growth=4).eval()
    block = net.get_submodule("features.denseblock1")
    assert [layer.conv1.in_channels for layer in block.children()] == [16, 20, 24]  # type: ignore[union-attr]
    x = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stacked = x
        for layer in block.children():
            stacked = torch.cat([stacked, layer.conv1(torch.relu(layer.norm1(stacked)))], 1)  # type: ignore[operator, union-attr]
        assert torch.equal(block(x), stacked)
        assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


# Hu et al. 2018: the paper's millions; (2 / ratio) · 20,119,552 on top of ResNet-50's 25,557,032; biases: 15,104 (1 + 1 / ratio)
@pytest.mark.parametrize(("ratio", "paper"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9)])
def test_parameters_of_the_ratio_table(ratio: int, paper: float) -> None:
    exact = 25_557_032 + 2 * 20_119_552 // ratio
    assert size("se_resnet50", ratio=ratio, bias=False) == exact
    assert size("se_resnet50", ratio=ratio) == exact + 15_104 + 15_104 // ratio
    assert abs(exact / 1e6 - paper) < 0.15


# figure 4 of the article; 17.98 M weights in convolutions, 3.6 G multiply-adds at 224 px
def test_the_banding_network_layer_by_layer() -> None:
    net = built("banding_net").eval()
    convs = [(name.rpartition(".")[2], part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    plan = [(name, part.kernel_size[0], part.out_channels, part.stride, part.padding[0]) for name, part in convs]
    assert plan == [
        ("conv0a", 7, 32, (1, 1), 3),
        ("conv1a", 5, 64, (1, 1), 2),
        ("conv2a", 5, 64, (1, 1), 2),
        *[(f"conv3{letter}", 5, 128, (1, 1), 2) for letter in "ab"],
        *[(f"conv4{letter}", 5, 256, (1, 1), 2) for letter in "abcde"],
        *[(f"conv5{letter}", 5, 512, (1, 1), 2) for letter in "ab"],
    ]
    assert sum(part.weight.numel() for _, part in convs) == 17_975_904
    assert net.fc.weight.shape == (1001, 512)
    assert sum(isinstance(part, L2Pool) for part in net.modules()) == 5
    x = torch.zeros(1, 3, 224, 224, device="meta")
    assert net.features(x).shape == (1, 512, 7, 7)  # type: ignore[operator]
    assert count_multiply_adds(net, x) == pytest.approx(3.6e9, rel=0.01)


@pytest.mark.parametrize(
    ("options", "read"),  # how many numbers the last layer reads, of 64 maps of 2 x 2 places
    [
        ({"pooling": "gap"}, 64),
        ({"pooling": "fc"}, 64 * 4),
        ({"pooling": "x_avgpool"}, 64 * 2),
        ({"pooling": "y_avgpool"}, 64 * 2),
        ({"pooling": "max_fc"}, 4096),
        ({"pooling": "masks", "masks": 5}, 64 * 5),
        ({"pooling": "mask"}, 64),
        ({"pooling": "groups"}, 1024),
        ({"coordinates": True}, 64),
    ],
    ids=str,
)
def test_the_changes_to_the_banding_network(options: dict[str, Any], read: int) -> None:
    net = networks.build("banding_net", num_classes=7, width=0.125, size=64, **options)
    assert net.fc.in_features == read
    scores = net(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert scores.shape == (2, 7)
    gradients = torch.autograd.grad(scores.square().sum(), list(net.parameters()))
    assert all(bool(torch.isfinite(one).all()) for one in gradients)


def test_pieces_of_the_banding_network_by_hand() -> None:
    x = torch.tensor([[[[3.0, 4.0], [0.0, 0.0]]]], requires_grad=True)
    pooled = L2Pool()(x)
    assert float(pooled.detach()) == pytest.approx(2.5)  # the root of (9 + 16) / 4
    empty = torch.zeros(1, 1, 2, 2, requires_grad=True)
    assert torch.autograd.grad(L2Pool()(empty).sum(), empty)[0].abs().max() == 0  # not NaN
    told = Coordinates()(torch.zeros(1, 1, 3, 2))
    assert told[0, 1].tolist() == [[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]
    assert told[0, 2].tolist() == [[-1.0, 1.0]] * 3
    masks = SpatialMasks(1, 2)
    with torch.no_grad():
        masks.weight.copy_(torch.tensor([[[4.0, 0.0], [0.0, 0.0]]]))
        assert masks(x).tolist() == [[3.0]]
    rows = networks.build("banding_net", width=0.125, size=64, pooling="x_avgpool").pool
    value = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert rows(value).tolist() == [[2.0, 6.0]]  # type: ignore[operator]


def test_they_open_by_name_with_their_options() -> None:
    net = mt.open("microtome:densenet_cifar(depth=13,growth=4)", weights=None)
    assert (net.recipe.size, net.family, net.outputs, net.labels) == ((32, 32), "deeper", 10, None)
    assert net.find("convs")[0] == "features.conv0"
    assert mt.open("microtome:densenet_cifar", weights=None, depth=13, growth=4).digest() == net.digest()
    assert net.twin().digest() != net.digest()
    bands = mt.open("microtome:banding_net(width=.125,size=64)", weights=None)
    assert (bands.recipe.size, bands.outputs) == ((64, 64), 1001)
    assert mt.open("microtome:se_resnet18(ratio=8)", weights=None, recipe={"size": 32}).family == "attention"
    assert mt.open("densenet121", weights=None, recipe={"size": 32}).name == "timm:densenet121"  # which has weights


def test_what_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'densenet264' ships without weights: .*--weights none"):
        mt.open("microtome:densenet264")
    with pytest.raises(BadOption, match="has 4 \\+ 3n layers, which 41 is not; take 40 or 43"):
        mt.open("microtome:densenet_cifar(depth=41)", weights=None)
    with pytest.raises(BadOption, match="no pooling 'gab'. Did you mean 'gap'"):
        mt.open("microtome:banding_net(pooling='gab')", weights=None)
    with pytest.raises(BadOption, match="multiples of 32"):
        mt.open("microtome:banding_net(size=100)", weights=None)
    with pytest.raises(BadOption, match="compression above 0"):
        mt.open("microtome:densenet121(compression=0)", weights=None)
    with pytest.raises(BadOption, match="ratio .* is 0; it takes 1 to 64"):
        mt.open("microtome:se_resnet50(ratio=0)", weights=None)
    with pytest.raises(BadOption, match="without a name; write them as key=value"):
        mt.open("microtome:densenet_cifar(40)", weights=None)
    with pytest.raises(UnknownName, match="'densenet_cifar'"):
        mt.open("microtome:denset_cifar(depth=40)", weights=None)
