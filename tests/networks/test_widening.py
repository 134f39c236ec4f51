"""A widened convolution gives what the plain one gives, whatever the further channels hold, until it is trained."""

import pytest
import torch
from torch import nn

from microtome.networks.widening import WidenedConv2d


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1, "bias": False},
        {"padding": "same", "dilation": 2},
        {"padding": 1, "padding_mode": "reflect"},
    ],
)
def test_the_same_map_and_gradients_for_the_new_weights(options: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(3, 5, 3, **options)
    wide = WidenedConv2d(plain, 2)
    x, more = torch.randn(2, 3, 9, 8, generator=generator), torch.randn(2, 2, 9, 8, generator=generator)
    out = wide(torch.cat([x, more], 1))
    assert torch.allclose(out, plain(x), atol=1e-6) and wide.in_channels == 5
    (gradient,) = torch.autograd.grad(out.square().sum(), [wide.weight])
    assert bool((gradient[:, 3:] != 0).any())
