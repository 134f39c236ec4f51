"""Schedules by their formulas and torch's own, groups of parameters by name, and Muon's matrices."""

import math

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.errors import BadOption
from microtome.instruments.weight_decay import param_groups
from microtome.training.optimisers import make_optimisers, parameter_groups, rate_factor
from microtome.training.recipe import OptimiserChoice


def test_warm_up_rises_in_a_line_and_cosine_falls_by_its_formula() -> None:
    choice = OptimiserChoice(schedule="cosine", warmup=0.1)
    factors = [rate_factor(choice, step, 40) for step in range(40)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]  # (step + 1) / 4
    for step in range(4, 40):
        assert factors[step] == pytest.approx((1 + math.cos(math.pi * (step - 4) / 36)) / 2)


def test_steps_divide_by_ten_at_each_milestone_and_constant_stays() -> None:
    choice = OptimiserChoice(schedule="step", warmup=0.0, milestones=(0.5, 0.75))
    assert [rate_factor(choice, step, 8) for step in range(8)] == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    assert {rate_factor(OptimiserChoice(schedule="constant", warmup=0.0), step, 8) for step in range(8)} == {1.0}


def test_one_cycle_is_that_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=50, pct_start=0.3)
    choice = OptimiserChoice(schedule="one_cycle", warmup=0.3)
    for step in range(50):
        assert rate_factor(choice, step, 50) == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
        optimiser.step()
        if step < 49:
            theirs.step()


def test_kernels_decay_and_norms_and_biases_do_not() -> None:
    specimen = mt.open("tiny_trainables:conv_net", None, recipe={"size": 16})
    decayed, plain = parameter_groups(specimen, OptimiserChoice(weight_decay=0.3))
    assert [parameter.shape for parameter in decayed["params"]] == [(6, 3, 3, 3), (8, 6, 3, 3), (10, 8)]
    assert (decayed["weight_decay"], plain["weight_decay"], len(plain["params"])) == (0.3, 0.0, 5)
    (everything,) = parameter_groups(specimen, OptimiserChoice(weight_decay=0.3, decay="all"))
    assert len(everything["params"]) == 8


def test_the_auditor_gives_its_own_groups() -> None:
    specimen = mt.open("microtome:mini_resnet", None)
    ours = parameter_groups(specimen, OptimiserChoice(weight_decay=0.05, decay="auditor"))
    theirs = param_groups(specimen, 0.05)
    assert [[id(each) for each in group["params"]] for group in ours] == [
        [id(each) for each in group["params"]] for group in theirs
    ]
    assert [group["weight_decay"] for group in ours] == [group["weight_decay"] for group in theirs]


def test_muon_has_the_inner_matrices_and_adamw_the_rest() -> None:
    specimen = mt.open("microtome:mini_deit", None)
    muon, adamw = make_optimisers(specimen, OptimiserChoice(name="muon", lr=0.01))
    matrices = [each for group in muon.param_groups for each in group["params"]]
    others = [each for group in adamw.param_groups for each in group["params"]]
    assert isinstance(muon, torch.optim.Muon)
    assert len(matrices) == sum(isinstance(part, nn.Linear) for part in specimen.net.blocks.modules())  # type: ignore[union-attr]
    assert len(matrices) + len(others) == len(list(specimen.net.parameters()))
    with pytest.raises(BadOption, match="Muon trains matrices .* take optimiser.name"):
        make_optimisers(mt.open("tiny_trainables:linear_net", None, recipe={"size": 16}), OptimiserChoice(name="muon"))
