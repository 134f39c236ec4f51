"""Broken weights, counted by hand: values that are not finite, dead and constant units, and norms that multiply by zero."""

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.analyses.audit.broken_weights import check_constant_units, check_dead_units, check_not_finite, check_switched_off
from microtome.analyses.audit.rule import Fault, Subject


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 5, 2), nn.Flatten(), nn.Linear(245, 2)
        ).eval()


def subject(net: nn.Module, trained: bool | None = True) -> Subject:
    from dataclasses import replace

    return Subject(replace(mt.open(net, recipe={"size": 8}), trained=trained))


def fault(outcome: Fault | str | None) -> Fault:
    assert isinstance(outcome, Fault)
    return outcome


def test_a_sound_network_has_none() -> None:
    for check in (check_not_finite, check_dead_units, check_constant_units, check_switched_off):
        assert check(subject(net())) is None


def test_values_that_are_not_finite_are_counted_in_parameters_and_buffers() -> None:
    broken = net()
    with torch.no_grad():
        broken[0].weight[0, 0, 0, :2] = torch.tensor([float("nan"), float("inf")])
        broken[1].running_mean[3] = float("-inf")
    found = fault(check_not_finite(subject(broken)))
    assert found.layers == ("0", "1") and found.evidence.startswith("3 values are NaN or infinite, in 0")


def test_units_of_a_transposed_convolution_are_its_outputs() -> None:
    broken = net()
    with torch.no_grad():
        broken[0].weight[1] = 0
        broken[3].weight[:, 2:4] = 0  # (input, output, row, col)
        broken[5].weight[1] = 0.5
    assert fault(check_dead_units(subject(broken))).evidence.startswith(
        "3 units in 2 layers with only zero weights, so that they give a constant; most, 2, in 3"
    )
    assert fault(check_constant_units(subject(broken))).evidence == (
        "1 unit in 1 layer with one value for all their weights, which compute a plain sum; most, 1, in 5"
    )


def test_norms_that_multiply_by_zero_hand_on_their_shift_where_it_survives() -> None:
    broken = net()
    with torch.no_grad():
        broken[1].weight[:2] = 0
        broken[1].bias.copy_(torch.tensor([1.0, -1.0, 0, 0]))
    found = fault(check_switched_off(subject(broken)))
    assert found.layers == ("1",)
    assert found.evidence == (
        "2 units are multiplied by zero, in 1; 1 of them hands on a constant that reaches the outputs, most, 1, in 1"
    )


@pytest.mark.parametrize("check", [check_dead_units, check_constant_units, check_switched_off])
def test_untrained_weights_are_not_judged(check) -> None:
    assert str(check(subject(net(), trained=False))).startswith("the weights are untrained")
