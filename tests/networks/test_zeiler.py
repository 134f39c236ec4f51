"""Zeiler & Fergus' networks: the sides, sizes and receptive fields of their papers, any image size, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn

import microtome as mt
from microtome import networks
from microtome.errors import BadOption
from microtome.instruments.receptive_fields import receptive_fields
from microtome.networks.zeiler import ResponseNorm


def built(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return networks.build(name, **options)


# Zeiler & Fergus 2014, fig. 3 (zfnet); Krizhevsky et al. 2012, sec. 3.5 (55, 27, 13, 6)
@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("zfnet", {"conv1": 110, "pool1": 55, "conv2": 26, "pool2": 13, "conv3": 13, "conv4": 13, "conv5": 13, "pool5": 6}),
        ("alexnet_zf", {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv3": 13, "conv5": 13, "pool5": 6}),
    ],
)
def test_the_sides_of_the_maps(name: str, sides: dict[str, int]) -> None:
    net = built(name).eval()
    x = torch.zeros(1, 3, 224, 224, device="meta")
    for layer, module in net.features.named_children():  # type: ignore[union-attr]
        x = module(x)
        if layer in sides:
            assert x.shape[2:] == (sides[layer],) * 2, layer
    assert x.shape[1:].numel() == 9216  # "6 · 6 · 256 = 9216 dimensions"


def test_receptive_fields_and_jumps_of_zfnet() -> None:
    """conv1 7, conv2 27, conv3 75, conv4 107, conv5 139, pool5 171 px; jumps 2, 8, 16: k = 1 + sum of (kernel - 1) · jump."""
    net = mt.open("microtome:zfnet(size=224,width=.05,hidden=8,num_classes=4)", weights=None)
    told = receptive_fields(net, [f"features.{name}" for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "pool5")])
    assert [one.size for one in told.values()] == [(side, side) for side in (7, 27, 75, 107, 139, 171)]
    assert [one.jump for one in told.values()] == [(jump, jump) for jump in (2, 8, 16, 16, 16, 32)]
    assert all(one.exact for one in told.values())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        # by hand: convolutions 14,208 + 614,656 + 885,120 + 1,327,488 + 884,992; fc 37,752,832 + 16,781,312 + 4,097,000
        ("zfnet", 62_357_608),
        ("alexnet_zf", 62_357_608 + 96 * 3 * (121 - 49)),
    ],
)
def test_parameters(name: str, count: int) -> None:
    assert sum(one.numel() for one in built(name).parameters()) == count


@pytest.mark.parametrize("name", ["zfnet", "alexnet_zf"])
@pytest.mark.parametrize("norm", ["response", "batch", "none"])
def test_pictures_of_other_sizes(name: str, norm: str) -> None:
    for size in (64, 97):
        net = networks.build(name, num_classes=5, size=size, norm=norm, width=0.1, hidden=16)
        scores = net.eval()(torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)))
        assert scores.shape == (2, 5)
        gradients = torch.autograd.grad(scores.square().sum(), list(net.parameters()))
        assert all(bool(one.any()) for one in gradients)


def test_the_response_norm_is_that_of_torch() -> None:
    x = torch.randn(2, 7, 4, 3, generator=torch.Generator().manual_seed(1)) * 50
    torch.testing.assert_close(ResponseNorm()(x), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(x))


def test_what_is_refused() -> None:
    for name in ("zfnet", "alexnet_zf"):
        with pytest.raises(BadOption, match="size of [0-9]+ px or more") as refused:
            networks.build(name, size=20)
        least = int(str(refused.value).split("size of ")[1].split()[0])
        net = networks.build(name, size=least, width=0.05, hidden=4)
        assert net.eval()(torch.zeros(1, 3, least, least)).shape == (1, 1000)
        assert least == {"zfnet": 47, "alexnet_zf": 35}[name]
    with pytest.raises(BadOption, match="Did you mean 'batch'"):
        networks.build("zfnet", norm="batsh")


def test_they_open_by_name() -> None:
    net = mt.open("microtome:zfnet(size=64,width=.1,hidden=16)", weights=None)
    assert (net.recipe.size, net.family, net.outputs) == ((64, 64), "deeper", 1000)
    assert net.find("convs")[0] == "features.conv1"
    assert net.twin().digest() != net.digest()
