"""DenseNets: parameter counts of the paper to the unit, the network of timm, and a plain dense block by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from microtome import networks
from microtome._torchvision import timm

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
