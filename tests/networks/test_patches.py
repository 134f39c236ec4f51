"""Patch embeddings with a norm: against a loop over patches, at sizes that patches divide and do not."""

import pytest
import torch
from torch import nn

from microtome.networks.patches import NormedPatches, NormedPixels


@pytest.fixture
def conv() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, 5, (2, 4), (2, 4))


def normalised(values: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
    spread = (values - values.mean()).square().mean()
    return (values - values.mean()) / (spread + 1e-6).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("size", [(6, 8), (7, 11)])
@pytest.mark.parametrize("kind", [NormedPatches, NormedPixels])
def test_patch_by_patch(kind, size, conv: nn.Conv2d) -> None:
    net, x = kind(conv), torch.randn(2, 3, *size)
    nn.init.normal_(net.norm.weight)
    nn.init.normal_(net.norm.bias)
    found = net(x)
    assert found.shape == (2, 5, 3, 2)
    for row in range(3):
        for col in range(2):
            for image in range(2):
                pixels = x[image, :, 2 * row : 2 * row + 2, 4 * col : 4 * col + 4].flatten()
                if kind is NormedPixels:
                    pixels = normalised(pixels, net.norm)
                wanted = conv.weight.flatten(1) @ pixels + conv.bias
                if kind is NormedPatches:
                    wanted = normalised(wanted, net.norm)
                assert torch.allclose(found[image, :, row, col], wanted, atol=1e-5)
