"""Convolutions with fewer multiplications, against torch's in float64."""

import pytest
import torch
import torch.nn.functional as F

from microtome.instruments.perturbation.winograd import MIN_UNITS, convolve, is_faster, transform_kernels


@pytest.mark.parametrize("shape", [(1, 3, 3), (3, 6, 8), (2, 7, 5), (5, 4, 9)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 0)])
@pytest.mark.parametrize("biased", [True, False])
def test_gives_what_a_convolution_gives(shape, padding, biased):
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, 5, generator=drawn)
    weight = torch.randn(4, 5, 3, 3, generator=drawn).contiguous(memory_format=torch.channels_last)
    bias = torch.randn(4, generator=drawn) if biased else None
    known = F.conv2d(x.permute(0, 3, 1, 2).double(), weight.double(), None if bias is None else bias.double(), padding=padding)
    found = convolve(x, transform_kernels(weight), bias, padding)
    assert found.shape == known.permute(0, 2, 3, 1).shape
    assert float((found - known.permute(0, 2, 3, 1)).abs().max()) < 2e-6 * 3 * 15  # a few roundings of sums of 45 products


def test_is_as_close_as_the_ordinary_kernel():
    drawn = torch.Generator().manual_seed(1)
    x = torch.randn(2, 512, 12, 14, generator=drawn).relu().contiguous(memory_format=torch.channels_last)
    weight = torch.randn(512, 512, 3, 3, generator=drawn) / 48
    known = F.conv2d(x.double(), weight.double(), padding=1)
    found = convolve(x.permute(0, 2, 3, 1), transform_kernels(weight), None, (1, 1)).permute(0, 3, 1, 2)
    plain = F.conv2d(x, weight, padding=1)
    assert float((found - known).abs().max()) < 2 * float((plain - known).abs().max())


def test_pays_for_many_units_and_whole_tiles_only():
    assert is_faster(14, 14, MIN_UNITS, MIN_UNITS)
    assert not is_faster(14, 14, MIN_UNITS, MIN_UNITS - 1)
    assert not is_faster(1, 14, MIN_UNITS, MIN_UNITS)  # half of what is computed would be thrown away
