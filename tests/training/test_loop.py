"""Updates: two steps of SGD by hand in numpy, accumulated batches equal to whole ones, and chance from (seed, epoch, step) alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from microtome.errors import BadOption
from microtome.training.data import open_training_data
from microtome.training.loop import Clock, make_fabric, step_seed, update_count
from microtome.training.network import open_network
from microtome.training.recipe import RunChoice, TrainingRecipe, recipe_from
from microtome.training.train import train

STILL = {"flip": False, "shift": 0}


def linear_recipe(**run: Any) -> TrainingRecipe:
    return recipe_from(
        {
            "network": {"name": "tiny_trainables:linear_net"},
            "data": {"images": "scenes:32,size=16", "size": 16, "validation_fraction": 0.0},
            "augmentation": STILL,
            "optimiser": {
                "name": "sgd",
                "lr": 0.02,
                "momentum": 0.9,
                "weight_decay": 0.1,
                "schedule": "constant",
                "warmup": 0,
                "clip": 0,
            },
            "run": {"epochs": 2, "batch": 32, **run},
        }
    )


def test_two_updates_are_those_of_stochastic_gradient_descent_by_hand(tmp_path: Path) -> None:
    recipe = linear_recipe()
    run = train(recipe, tmp_path)
    start, end = load_file(run.checkpoints[0]), load_file(run.weights)
    data = open_training_data(recipe.data, 0).training
    framing = open_network(recipe.network, 10, 0, 16).recipe
    x = framing.normalise(torch.from_numpy(data.inputs(framing, np.arange(32)))).flatten(1).double().numpy()
    weight, bias = (start[name].double().numpy() for name in ("1.weight", "1.bias"))
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    losses = []
    for _ in range(2):
        scores = x @ weight.T + bias
        exp = np.exp(scores - scores.max(1, keepdims=True))
        fractions = exp / exp.sum(1, keepdims=True)
        losses.append(-np.log(fractions[np.arange(32), data.labels]).mean())
        error = (fractions - np.eye(10)[data.labels]) / 32
        velocity[0] = 0.9 * velocity[0] + error.T @ x + 0.1 * weight  # decay on the kernel only
        velocity[1] = 0.9 * velocity[1] + error.sum(0)
        weight, bias = weight - 0.02 * velocity[0], bias - 0.02 * velocity[1]
    assert np.abs(end["1.weight"].double().numpy() - weight).max() < 1e-6
    assert np.abs(end["1.bias"].double().numpy() - bias).max() < 1e-6
    assert [row["loss"] for row in run.curves] == pytest.approx(losses, rel=1e-5)


def test_two_parts_of_sixteen_are_a_batch_of_thirty_two(tmp_path: Path) -> None:
    whole = load_file(train(linear_recipe(epochs=3), tmp_path / "whole").weights)
    parts = load_file(train(linear_recipe(epochs=3, batch=16, accumulate=2), tmp_path / "parts").weights)
    assert max(float((whole[name] - parts[name]).abs().max()) for name in whole) < 1e-6
    apart = load_file(train(linear_recipe(epochs=3, batch=16), tmp_path / "apart").weights)
    assert float((whole["1.weight"] - apart["1.weight"]).abs().max()) > 1e-4  # twice as many updates are another thing


def test_a_batch_larger_than_the_images_is_all_of_them_also_in_uneven_parts(tmp_path: Path) -> None:
    whole = load_file(train(linear_recipe(), tmp_path / "whole").weights)
    for batch, accumulate in ((500, 1), (20, 2)):  # 32 images: 32 at once, or 20 and 12
        run = train(linear_recipe(batch=batch, accumulate=accumulate), tmp_path / str(batch))
        assert max(float((whole[name] - value).abs().max()) for name, value in load_file(run.weights).items()) < 1e-6


def test_clipping_bounds_the_first_update_and_a_radius_the_filters(tmp_path: Path) -> None:
    recipe = linear_recipe(epochs=1).with_changes({"optimiser.clip": 0.001, "optimiser.weight_decay": 0})
    run = train(recipe, tmp_path / "clipped")
    start, end = load_file(run.checkpoints[0]), load_file(run.weights)
    norm = sum(float((end[name] - start[name]).square().sum()) for name in end) ** 0.5
    assert norm == pytest.approx(0.02 * 0.001, rel=1e-2)  # rate times the norm that was left
    conv = linear_recipe(epochs=1).with_changes({"network.name": "tiny_trainables:conv_net", "optimiser.radius": 0.05})
    kernel = load_file(train(conv, tmp_path / "held").weights)["0.weight"]
    assert float(kernel.square().mean((1, 2, 3)).sqrt().max()) == pytest.approx(0.05, rel=1e-5)


def test_updates_are_counted_in_whole_batches() -> None:
    assert update_count(100, RunChoice(batch=32)) == 3
    assert update_count(100, RunChoice(batch=16, accumulate=2, devices=2)) == 1
    assert update_count(5, RunChoice(batch=32)) == 1


def test_every_update_of_every_process_has_chance_of_its_own() -> None:
    seeds = {step_seed(seed, epoch, step, rank) for seed in (0, 1) for epoch in (0, 1) for step in (0, 1) for rank in (0, 1)}
    assert len(seeds) == 16
    assert step_seed(0, 1, 2) == step_seed(0, 1, 2)


def test_several_devices_need_torchrun() -> None:
    with pytest.raises(BadOption, match=r"run.devices is 2, and 1 process run; start as many by torchrun --nproc-per-node 2"):
        make_fabric(RunChoice(devices=2), "cpu")


def test_a_clock_is_due_once_for_each_span() -> None:
    assert Clock(0.0).due()
    clock = Clock(1e9)
    assert not clock.due()
    clock.last -= 2e9
    assert clock.due()
    assert not clock.due()
