"""Problems of weights, each planted alone."""

import numpy as np
import torch

from microtome.analyses.weights.health import health_measures, weight_problems
from microtome.numerics.weights.norms import norm_of

WEIGHT = torch.randn(8, 5, 3, 3, generator=torch.Generator().manual_seed(0))


def problems(values: torch.Tensor, norm: torch.nn.Module | None = None, trained: bool | None = True) -> list[str]:
    return weight_problems(health_measures(values, norm_of(norm) if norm else None), len(values), trained)


def test_a_healthy_tensor_has_none() -> None:
    assert problems(WEIGHT) == []


def test_zero_constant_and_broken_units_are_counted() -> None:
    values = WEIGHT.clone()
    values[:2], values[2] = 0, 0.5
    assert problems(values) == ["2 of 8 units have only zero weights", "1 of 8 units have one value for all their weights"]
    values[3, 0, 0, :2] = torch.tensor([torch.nan, torch.inf])
    assert problems(values)[0] == "2 weights are NaN or infinite"
    assert np.isnan(health_measures(values)["on an 8-bit lattice"])


def test_weights_from_eight_bits_lie_on_a_lattice() -> None:
    step = float(WEIGHT.abs().max()) / 127
    assert problems((WEIGHT / step).round() * step)[0].startswith("8-bit origin: ")


def test_norms_without_effect_matter_only_where_something_was_trained() -> None:
    norm = torch.nn.BatchNorm2d(8, eps=1e-5)
    assert problems(WEIGHT, norm) == ["its batch norm has no effect: folded before, or never trained"]
    assert problems(WEIGHT, norm, trained=False) == []
    with torch.no_grad():
        norm.running_mean.fill_(0.1)
        norm.weight[:3] = 0
    assert problems(WEIGHT, norm) == ["the batch norm after it sets to zero 3 of 8 units"]
