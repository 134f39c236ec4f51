"""The banding network: layer by layer, its changes, and its pieces by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from microtome import networks
from microtome._torchvision import timm
from microtome.networks.coordinates import Coordinates
from microtome.networks.pooling import L2Pool, SpatialMasks
from microtome.numerics.graph.counts import count_multiply_adds


def built(name: str, **options: Any) -> nn.Module:
    """The network without memory for its parameters."""
    timm()
    with torch.device("meta"):
        return networks.build(name, **options)


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
        ({"pooling": "xy_avgpool"}, 64 * 4),
        ({"pooling": "attention"}, 64),
        ({"pooling": "film"}, 64),
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
    masks = SpatialMasks(1, 2, 2)
    with torch.no_grad():
        masks.weight.copy_(torch.tensor([[[4.0, 0.0], [0.0, 0.0]]]))
        assert masks(x).tolist() == [[3.0]]
    rows = networks.build("banding_net", width=0.125, size=64, pooling="x_avgpool").pool
    value = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
    assert rows(value).tolist() == [[2.0, 6.0]]  # type: ignore[operator]
