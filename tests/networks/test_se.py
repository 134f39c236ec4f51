"""Squeeze-and-excitation ResNets: parameters of the paper to the unit, for every depth and ratio."""

from typing import Any

import pytest
import torch
from torch import nn

from microtome import networks
from microtome._torchvision import timm
from microtome.errors import BadOption


def built(name: str, **options: Any) -> nn.Module:
    """The network without memory for its parameters."""
    timm()
    with torch.device("meta"):
        return networks.build(name, **options)


def size(name: str, **options: Any) -> int:
    return sum(one.numel() for one in built(name, **options).parameters())


# Hu et al. 2018: the paper's millions; (2 / ratio) · 20,119,552 on top of ResNet-50's 25,557,032; biases: 15,104 (1 + 1 / ratio)
@pytest.mark.parametrize(("ratio", "paper"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9)])
def test_parameters_of_the_ratio_table(ratio: int, paper: float) -> None:
    exact = 25_557_032 + 2 * 20_119_552 // ratio
    assert size("se_resnet50", ratio=ratio, bias=False) == exact
    assert size("se_resnet50", ratio=ratio) == exact + 15_104 + 15_104 // ratio
    assert abs(exact / 1e6 - paper) < 0.15


# He et al. 2016's networks as torchvision and timm have them, and Σ blocks · channels² and Σ blocks · channels over their stages
@pytest.mark.parametrize(
    ("depth", "plain", "blocks", "channels"),
    [
        (18, 11_689_512, (2, 2, 2, 2), (64, 128, 256, 512)),
        (34, 21_797_672, (3, 4, 6, 3), (64, 128, 256, 512)),
        (101, 44_549_160, (3, 4, 23, 3), (256, 512, 1024, 2048)),
        (152, 60_192_808, (3, 8, 36, 3), (256, 512, 1024, 2048)),
    ],
)
def test_parameters_of_every_depth(depth: int, plain: int, blocks: tuple[int, ...], channels: tuple[int, ...]) -> None:
    added = sum(many * 2 * units * units // 16 for many, units in zip(blocks, channels, strict=True))
    assert size(f"se_resnet{depth}", bias=False) == plain + added
    assert size(f"se_resnet{depth}", bias=False, num_classes=10) == plain + added - 990 * (channels[-1] + 1)


@pytest.mark.parametrize("ratio", [0, 65])
def test_ratios_beyond_1_to_64_are_refused(ratio: int) -> None:
    with pytest.raises(BadOption, match=f"is {ratio}; it takes 1 to 64"):
        built("se_resnet18", ratio=ratio)
