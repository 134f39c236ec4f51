"""ResNets for small images: counts of the literature and by hand, and sizes that are asked for."""

import pytest
import torch

from microtome import networks
from microtome.errors import BadOption
from microtome.networks.cifar_resnet import StageWidths, fitting_widths


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 272_474),  # He et al., table 6: 0.27 and 0.85 M; 269,722 without projections, which add 576 + 2,176
        ({"depth": 56}, 855_770),
        ({"depth": 20, "num_classes": 100}, 278_324),  # 90 classes more: 90 · 65
        # by hand, widths 2, 4, 8 and one block: stem 54 + 4; 36 + 36 + 8; 72 + 144 + 16 + 8 + 8; 288 + 576 + 32 + 32 + 16; fc 90
        ({"depth": 8, "width": 2}, 58 + 80 + 248 + 944 + 90),
    ],
)
def test_counts(options: dict[str, int], count: int) -> None:
    net = networks.build("resnet_cifar", **options)
    assert sum(p.numel() for p in net.parameters()) == count
    width, blocks = options.get("width", 16), (options.get("depth", 20) - 2) // 6
    assert StageWidths(width, 2 * width, 4 * width).parameters(blocks, options.get("num_classes", 10)) == count


@pytest.mark.parametrize(
    "dense",
    [{"depth": 22, "growth": 8}, {"depth": 22, "growth": 12, "bottleneck": 4, "compression": 0.5}, {"depth": 40, "growth": 12}],
)
def test_a_resnet_of_the_size_of_a_densenet(dense: dict[str, int | float]) -> None:
    """Counted on the networks themselves: equal within 2%, as the comparison at equal parameters asks."""
    wanted = sum(p.numel() for p in networks.build("densenet_cifar", **dense).parameters())
    for depth in (8, 20):
        net = networks.build("resnet_cifar", depth=depth, parameters=wanted)
        assert abs(sum(p.numel() for p in net.parameters()) / wanted - 1) <= 0.02
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_widths_are_those_of_the_plain_network_where_its_size_is_asked_for() -> None:
    assert fitting_widths(272_474, 3, 10) == (16, 32, 64)


def test_maps_halve_twice() -> None:
    net = networks.build("resnet_cifar", depth=8, width=2).eval()
    x = torch.zeros(1, 2, 32, 32)
    for stage, side in (("layer1", 32), ("layer2", 16), ("layer3", 8)):
        x = net.get_submodule(stage)(x)
        assert x.shape[2:] == (side, side)


def test_what_is_refused() -> None:
    with pytest.raises(BadOption, match="which 21 is not; take 20 or 26"):
        networks.build("resnet_cifar", depth=21)
    with pytest.raises(BadOption, match=r"No ResNet of 56 layers has about 1,000 parameters; the nearest has .*another depth"):
        networks.build("resnet_cifar", depth=56, parameters=1000)
    with pytest.raises(BadOption, match="width of 1 or more"):
        networks.build("resnet_cifar", width=0)
