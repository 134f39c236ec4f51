"""Coverage, forecast and folding: by hand, by the products of one-dimensional chains, and against random networks."""

import numpy as np
import pytest
import torch
from torch import nn

from microtome.numerics.receptive.evenness import (
    SurrogateMode,
    even_kernel,
    fold_phases,
    forecast_phases,
    phase_coverage,
    phase_ratio,
    roughness,
)


@pytest.mark.parametrize("kernel", range(1, 9))
@pytest.mark.parametrize("stride", range(1, 5))
def test_coverage_counts_windows_and_is_even_iff_the_stride_divides_the_kernel(kernel, stride):
    counted = np.zeros(240, dtype=int)
    for start in range(0, 240 - kernel, stride):
        counted[start : start + kernel] += 1
    found = phase_coverage(kernel, stride)
    assert found.tolist() == counted[120 : 120 + stride].tolist()  # 120 is a multiple of all strides here
    assert (found.min() == found.max()) == (kernel % stride == 0)
    assert even_kernel(kernel, stride) % stride == 0
    assert 0 <= even_kernel(kernel, stride) - kernel < stride


def test_known_coverages():
    assert [phase_coverage(7, 2).tolist(), phase_coverage(3, 2).tolist(), phase_coverage(1, 2).tolist()] == [
        [4, 3],
        [2, 1],
        [1, 0],
    ]
    assert phase_coverage(3, 2, 2).tolist() == [3, 0]  # dilation equal to the stride leaves every other pixel out


def chain(*kernels, pad=True, rest=()):
    return nn.Sequential(*(nn.Conv2d(1, 1, k, 2, (k - 1) // 2 if pad else 0) for k in kernels), *rest)


def inner_ratio(net, side=512, margin=128):
    found = forecast_phases(net, torch.zeros(1, 1, side, side))[margin:-margin, margin:-margin]
    return found.min() / found.max()


def test_ones_kernel_adjoint_of_known_chains():
    """The strided chain of ResNets 0.189, five 3 x 3 strided by two 0.006, kernels that strides divide 1 (methods, part 2)."""
    assert inner_ratio(chain(7, 3, 3, 3, 3)) == pytest.approx(0.189, abs=1e-3)
    assert inner_ratio(chain(3, 3, 3, 3, 3)) == pytest.approx(0.006, abs=5e-4)
    assert inner_ratio(chain(8, 4, 4, 4, 4)) == pytest.approx(1.0, abs=1e-5)


def test_a_single_strided_convolution_is_its_coverage():
    found = forecast_phases(nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.zeros(1, 3, 32, 32))
    phases = fold_phases(found, 2, 4)
    assert phases / phases.min() == pytest.approx(np.outer([1, 2], [1, 2]))  # even pixels are read once, odd ones twice
    assert phase_ratio(phases) == 0.25


def test_weights_activations_and_maxima_do_not_matter():
    def net(seed, act, pool):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), act(), pool(3, 2, 1), nn.Conv2d(8, 4, 3, 2, 1)).eval()

    x = torch.zeros(1, 3, 32, 32)
    first = forecast_phases(net(0, nn.ReLU, nn.MaxPool2d), x)
    assert np.array_equal(first, forecast_phases(net(1, nn.GELU, nn.AvgPool2d), x))


def test_forecast_is_the_expected_squared_gradient_of_random_networks():
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 7, 2, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    expected = forecast_phases(net, torch.zeros(1, 1, 48, 48))
    total = torch.zeros(48, 48, dtype=torch.float64)
    for _ in range(150):
        with torch.no_grad():
            for conv in net[::2]:
                conv.weight.normal_(generator=generator)
                conv.bias.zero_()
        x = torch.randn(1, 1, 48, 48, generator=generator).requires_grad_()
        out = net(x)
        signs = torch.randn(
            out.shape, generator=generator
        )  # independent cells, as independent weights further up would make them
        total += torch.autograd.grad((out * signs).sum(), x)[0][0, 0].double() ** 2
    both = [fold_phases(field, 8, 8).ravel() for field in (expected, total.numpy())]
    assert np.corrcoef(*both)[0, 1] > 0.97


class Branches(nn.Module):
    """A strided 1 x 1, which reads every other pixel, beside two 3 x 3, which read all: joined by a sum."""

    def __init__(self):
        super().__init__()
        self.short = nn.Conv2d(1, 24, 1, 2)
        self.long = nn.Sequential(nn.Conv2d(1, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, 2, 1))

    def forward(self, x):
        return self.short(x) + self.long(x)


@pytest.mark.parametrize(("initialised", "agrees"), [("He", True), ("torch's default", False)])
def test_with_branches_the_forecast_holds_for_he_initialisation_only(initialised, agrees):
    """Expected squares by branch. He: 2 for the strided 1 x 1, 2 · ½ · 2 = 2 for the other. Default: 1/3 against 1/3 · ½ · 1/3 = 1/18.

    By phase, with A the share of the 1 x 1 (all of it on phase (0, 0) of four) and B that of the long branch spread by its taps: the
    forecast has A = B, so phase (0, 0) counts far more under the default, where A = 6 B.
    """
    generator = torch.Generator().manual_seed(0)
    net = Branches()
    expected = fold_phases(forecast_phases(net, torch.zeros(1, 1, 24, 24)), 2, 4)
    total = torch.zeros(24, 24, dtype=torch.float64)
    for _ in range(200):
        with torch.no_grad():
            for conv in (net.short, net.long[0], net.long[2]):
                fan_in = conv.weight[0].numel()
                conv.weight.normal_(0, (2 / fan_in if initialised == "He" else 1 / (3 * fan_in)) ** 0.5, generator=generator)
                conv.bias.zero_()
        x = torch.randn(1, 1, 24, 24, generator=generator).requires_grad_()
        out = net(x)
        total += torch.autograd.grad((out * torch.randn(out.shape, generator=generator)).sum(), x)[0][0, 0].double() ** 2
    seen = fold_phases(total.numpy(), 2, 4)
    assert (np.abs(seen / expected - 1).max() < 0.1) == agrees
    if not agrees:
        assert seen[0, 0] / seen[1, 1] > 3 * expected[0, 0] / expected[1, 1]


def test_folding_keeps_phases_in_place_and_leaves_the_edge_out():
    field = np.ones((26, 31))
    field[1::4, 2::4] = 5.0
    field[:3] = 100.0
    phases = fold_phases(field, 4, 3)
    assert np.unravel_index(phases.argmax(), phases.shape) == (1, 2)
    assert phase_ratio(phases) == pytest.approx(0.2)
    assert phases.mean() == pytest.approx(1.0)
    assert np.isnan(fold_phases(np.ones((3, 3)), 4, 0)).all()


def test_roughness_by_hand():
    field = np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert roughness(field) == (0.5, 1.0)
    assert roughness(np.outer(np.arange(4.0), np.ones(5))) == (0.5, 0.0)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_with_fewer_heads_of_values_keeps_the_shape_of_the_queries(heads):
    """Multi-query (one head of values) and grouped-query attention; the mean over places is the same for all queries."""
    q, k, v = torch.rand(1, 4, 9, 8), torch.rand(1, heads, 9, 8), torch.rand(1, heads, 9, 6)
    with SurrogateMode():
        given = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=heads not in (1, 4))
    assert given.shape == (1, 4, 9, 6)
    for head in range(4):
        torch.testing.assert_close(given[0, head], v[0, head * heads // 4].mean(0).expand(9, 6))
