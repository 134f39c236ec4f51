"""Larger windows that give the same: convolutions and pools at every size, and padding by the rule of each mode."""

import pytest
import torch
from torch import nn

from microtome.networks.padded import PaddedConv2d, PaddedMaxPool2d, set_padding


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3, (2, 1)])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("edges", ["zeros", "reflect"])
def test_exact_at_every_size(kernel, stride, groups, edges) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel, stride, kernel // 2, groups=groups, bias=groups == 1, padding_mode=edges)
    even = [-(-kernel // s) * s for s in conv.stride]
    padded = PaddedConv2d.of(conv, (even[0], even[1]))
    for size in range(9, 22):
        x = torch.randn(1, 4, size, size + 1, generator=torch.Generator().manual_seed(size))
        assert torch.allclose(padded(x), conv(x), atol=1e-5), size
    assert padded.weight.shape[2:] == tuple(even)


def test_keeping_the_old_padding_is_not_exact() -> None:
    """Why the input is padded: with padding 1 a 4 x 4 kernel at stride 2 gives one row less on 33 rows."""
    assert nn.functional.conv2d(torch.zeros(1, 1, 33, 33), torch.zeros(1, 1, 3, 3), stride=2, padding=1).shape[2] == 17
    assert nn.functional.conv2d(torch.zeros(1, 1, 33, 33), torch.zeros(1, 1, 4, 4), stride=2, padding=1).shape[2] == 16


def test_a_larger_pool_gives_the_maximum_over_the_larger_window() -> None:
    """The first window of 4 rows begins one row early, as that of 3 did."""
    x = torch.randn(1, 1, 9, 11, generator=torch.Generator().manual_seed(0))
    pool = PaddedMaxPool2d.of(nn.MaxPool2d(3, 2, 1), (4, 4))
    found, old = pool(x), nn.MaxPool2d(3, 2, 1)(x)
    assert found.shape == old.shape
    for row in range(found.shape[2]):
        for col in range(found.shape[3]):
            window = x[0, 0, max(0, 2 * row - 1) : 2 * row + 3, max(0, 2 * col - 1) : 2 * col + 3]
            assert float(found[0, 0, row, col]) == float(window.max())


@pytest.mark.parametrize("edges", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("padding", "set_to"), [("same", None), ("valid", None), ((1, 2), (2, 3)), ((1, 2), None)])
def test_padding_of_every_mode_is_what_a_new_convolution_does(edges, padding, set_to) -> None:
    """After another dilation or padding, the margins that modes other than zeros keep are those of a convolution made so."""
    conv = nn.Conv2d(2, 3, 3, padding=padding, padding_mode=edges)
    conv.dilation = (2, 1)
    set_padding(conv, set_to)
    made = nn.Conv2d(2, 3, 3, padding=set_to or padding, dilation=(2, 1), padding_mode=edges)
    made.load_state_dict(conv.state_dict())
    x = torch.randn(1, 2, 12, 13, generator=torch.Generator().manual_seed(0))
    assert torch.equal(conv(x), made(x))
