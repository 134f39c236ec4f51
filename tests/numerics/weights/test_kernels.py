"""Kernels of layers: a layer over a flattened map is the convolution that its kernel makes, and reasons where none is judged."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from microtome.numerics.receptive.flattening import FlatMap
from microtome.numerics.weights.kernels import kernel_of


def weights(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("units_last", [False, True])
def test_a_layer_over_a_flattened_map_is_one_large_convolution(units_last: bool) -> None:
    linear, maps = nn.Linear(4 * 3 * 3, 5, bias=False), weights(2, 4, 3, 3)
    flat = maps.movedim(1, 3).flatten(1) if units_last else maps.flatten(1)
    kernel = kernel_of(linear, linear.weight.detach(), FlatMap(4, 3, 3, units_last))
    assert kernel is not None and kernel.reason == ""
    assert torch.allclose(F.conv2d(maps, kernel.values)[:, :, 0, 0], linear(flat), atol=1e-5)


def test_a_layer_that_reads_no_map_or_another_has_no_kernel() -> None:
    linear = nn.Linear(36, 5)
    assert kernel_of(linear, linear.weight.detach()) is None
    assert kernel_of(linear, linear.weight.detach(), FlatMap(4, 3, 2)) is None


@pytest.mark.parametrize(
    ("values", "groups", "reason"),
    [
        (weights(4, 3, 1, 1), 1, "1×1: there is one position"),
        (weights(4, 3, 1, 3), 1, "1×3: rows and columns are not alike"),
        (weights(4, 1, 3, 3), 4, "depthwise"),
        (weights(4, 1, 3, 3), 1, "one input channel"),
        (torch.full((4, 3, 3, 3), torch.nan), 1, "108 of its weights are NaN or infinite"),
        (torch.zeros(4, 3, 3, 3), 1, "all its weights are zero"),
        (torch.ones(4, 3, 3, 3), 1, "its weights do not vary over positions"),
        (weights(4, 3, 3), 1, "its kernel has 1 spatial axis, not 2"),
        (weights(4, 3, 3, 3), 1, ""),
    ],
)
def test_why_a_kernel_is_not_judged(values: torch.Tensor, groups: int, reason: str) -> None:
    kernel = kernel_of(nn.Conv2d(4 if groups > 1 else 3, 4, 3, groups=groups), values)
    assert kernel is not None
    assert kernel.reason.startswith(reason) and bool(kernel.reason) == bool(reason)
