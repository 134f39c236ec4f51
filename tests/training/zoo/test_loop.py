"""The training loop: it learns, it resumes bit for bit, and it leaves torch's random state alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from microtome import networks
from microtome.errors import CheckpointError
from microtome.training.zoo.data import SceneSeries, scene_series
from microtome.training.zoo.judging import accuracy_interval, load_network
from microtome.training.zoo.loop import Motion, _optimizers, normalise, tint, train_zoo_network
from microtome.training.zoo.recipes import RECIPES, ZooRecipe
from microtome.training.zoo.teaching import TaughtNetwork

SMALL = ZooRecipe(network="mini_inception", epochs=2, count=32, batch=16, warmup=0.0, lr=2e-3, precision="32-true", halved=0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few() -> SceneSeries:
    return scene_series(32, seed=77)


def test_the_loss_falls_on_a_handful_of_scenes(few: SceneSeries, tmp_path: Path) -> None:
    losses: list[float] = []
    train_zoo_network(
        replace(SMALL, epochs=10, smoothing=0.0), tmp_path, data=few, progress=lambda event: losses.append(event["loss"])
    )
    assert len(losses) == 10
    assert losses[0] > 1.8  # ten classes: an answer without knowledge costs log 10 = 2.30
    assert losses[-1] < 0.8 * losses[0]


def test_a_stopped_run_resumes_bit_for_bit(few: SceneSeries, tmp_path: Path) -> None:
    plan = replace(SMALL, halved=0.5, precision="bf16-mixed")
    whole = train_zoo_network(plan, tmp_path / "whole", data=few)
    train_zoo_network(plan, tmp_path / "parts", data=few, stop_after=1)
    assert (tmp_path / "parts" / whole.name).read_bytes() != whole.read_bytes()
    parts = train_zoo_network(plan, tmp_path / "parts", data=few)
    assert parts.read_bytes() == whole.read_bytes()


def test_training_leaves_the_global_random_state_alone(few: SceneSeries, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    train_zoo_network(replace(SMALL, epochs=1), tmp_path, data=few)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_checkpoints_stand_at_powers_of_two_and_load(few: SceneSeries, tmp_path: Path) -> None:
    path = train_zoo_network(replace(SMALL, epochs=4), tmp_path, data=few, checkpoints=True)
    kept = sorted(one.name for one in tmp_path.glob("epoch-*.safetensors"))
    assert kept == [f"epoch-{number:03d}.safetensors" for number in (0, 1, 2, 4)]
    assert (tmp_path / "epoch-004.safetensors").read_bytes() == path.read_bytes()
    assert load_network("mini_inception", path).training is False
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["recipe"])["network"] == "mini_inception"
    with pytest.raises(CheckpointError, match="do not fit mini_vgg"):
        load_network("mini_vgg", path)


def test_the_state_of_another_recipe_is_refused(few: SceneSeries, tmp_path: Path) -> None:
    train_zoo_network(SMALL, tmp_path, data=few, stop_after=1)
    with pytest.raises(CheckpointError, match="belongs to another recipe"):
        train_zoo_network(replace(SMALL, lr=1e-3), tmp_path, data=few)


def test_a_taught_transformer_is_saved_without_its_training_layer(few: SceneSeries, tmp_path: Path) -> None:
    plan = replace(RECIPES["mini_deit"], epochs=1, count=32, batch=16)
    path = train_zoo_network(plan, tmp_path, data=few)
    assert set(load_file(path)) == set(networks.build("mini_deit").state_dict())


def test_norms_and_biases_do_not_decay() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    (adamw,) = _optimizers(net, replace(SMALL, weight_decay=0.1))
    decayed, rest = adamw.param_groups
    assert [one.ndim for one in decayed["params"]] == [4, 2]
    assert [one.ndim for one in rest["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0.0)


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    net = TaughtNetwork(networks.build("mini_deit"), [4], seed=0)
    muon, adamw = _optimizers(net, RECIPES["mini_deit"])
    assert len(muon.param_groups[0]["params"]) == 6 * 4  # six blocks of qkv, proj, fc1, fc2
    taken = [one for group in (*muon.param_groups, *adamw.param_groups) for one in group["params"]]
    assert len(taken) == len({id(one) for one in taken}) == len(list(net.parameters()))
    still = {id(one) for one in adamw.param_groups[1]["params"]}
    assert {id(net.net.cls_token), id(net.net.pos_embed)} <= still


def test_augmentation_mirrors_about_half_and_keeps_shape_and_range() -> None:
    ramp = torch.arange(64.0).expand(400, 8, 64)[..., None].expand(400, 8, 64, 3) * 2 + 60
    generator = torch.Generator().manual_seed(3)
    seen = tint(Motion.sample(400, generator)(ramp), generator)
    assert seen.shape == ramp.shape
    mirrored = (seen[:, 0, 10, 0] > seen[:, 0, 50, 0]).float().mean()
    assert abs(float(mirrored) - 0.5) < 0.1  # 400 draws: standard deviation 0.025
    assert seen.min() >= 0
    assert seen.max() <= 255


def test_normalised_puts_grey_at_nought_and_white_at_two() -> None:
    pixels = torch.full((1, 2, 5, 3), 255, dtype=torch.uint8)
    assert normalise(pixels).shape == (1, 3, 2, 5)
    assert torch.equal(normalise(pixels), torch.full((1, 3, 2, 5), 2.0))  # (1 - 0.5) / 0.25


def test_a_series_is_kept_and_read_again(tmp_path: Path) -> None:
    drawn = scene_series(12, seed=9, cache=tmp_path)
    again = scene_series(12, seed=9, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(drawn.pixels, again.pixels)
    assert np.array_equal(drawn.areas, again.areas)
    assert again.labels.tolist() == [index % 10 for index in range(12)]


def test_the_wilson_interval_agrees_with_its_formula_by_hand() -> None:
    # 8 of 10, z = 1.96: centre (0.8 + 0.19207) / 1.38415 = 0.71674, half width 1.41603 * sqrt(0.016 + 0.0096036) = 0.22657
    assert accuracy_interval(8, 10) == pytest.approx((0.49016, 0.94331), abs=2e-4)
    assert accuracy_interval(0, 0) == (0.0, 1.0)
