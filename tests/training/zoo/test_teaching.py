"""A convolutional teacher for a transformer: hints at their patches, guesses for each, first weights by their statistics."""

import math

import pytest
import torch

from microtome import networks
from microtome.training.zoo.data import scene_series
from microtome.training.zoo.loop import normalise
from microtome.training.zoo.teaching import TaughtNetwork, Teacher, _standardise, prepare_student


def test_the_training_layers_add_a_guess_for_every_patch_and_hint() -> None:
    teacher = Teacher("mini_vgg")
    images = normalise(torch.from_numpy(scene_series(4, seed=5).pixels))
    probabilities, hints = teacher(images)
    logits, guesses = TaughtNetwork(networks.build("mini_deit"), teacher.units, seed=0)(images)
    assert logits.shape == probabilities.shape == (4, 10)
    # 64 px / 8 px = 8 patches a side; 24 units on 16 x 16 places are 4 x 24 on 8 x 8; then 32 and 56 on 8 x 8
    assert [one.shape for one in hints] == [one.shape for one in guesses] == [(4, 64, 96), (4, 64, 32), (4, 64, 56)]
    assert hints[2].mean().abs() < 1e-3


def test_a_hint_stands_at_the_place_of_its_patch() -> None:
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, 5, 12] = 1.0  # row 5, col 12 of 16: patch row 2, col 6 of 8
    hint = _standardise(maps)
    assert int(hint[0].amax(-1).argmax()) == 2 * 8 + 6


def test_prepared_patches_enter_decorrelated() -> None:
    images = normalise(torch.from_numpy(scene_series(32, seed=5).pixels))
    net = prepare_student(networks.build("mini_deit"), images)
    with torch.no_grad():
        tokens = net.patch_embed(images).flatten(0, 1).double()
    spread = torch.cov(tokens.T)
    assert spread.diagonal().max() < 1.02  # whitening: variance 1 where it is far above the floor of 0.001, less elsewhere
    assert (spread - torch.diag(spread.diagonal())).abs().max() < 1e-3
    assert tokens.mean(0).abs().max() < 1e-3


def test_positions_begin_as_waves_that_tell_rows_from_columns() -> None:
    """The same row and another column share the first half of the units, the same column the second."""
    images = normalise(torch.from_numpy(scene_series(32, seed=5).pixels))
    places = prepare_student(networks.build("mini_deit"), images).pos_embed[0, 1:].detach().reshape(8, 8, 64)
    assert torch.equal(places[3, 1, :32], places[3, 6, :32]) and not torch.allclose(places[3, 1, 32:], places[3, 6, 32:])
    assert torch.equal(places[1, 3, 32:], places[6, 3, 32:]) and not torch.allclose(places[1, 3, :32], places[6, 3, :32])
    rates = [8 ** (-number / 16) * 2 for number in range(16)]
    wanted = [0.5 * wave(3 * rate) for wave in (math.sin, math.cos) for rate in rates]
    assert places[3, 0, :32].tolist() == pytest.approx(wanted, abs=1e-6)


def test_guesses_come_from_the_seed_and_leave_the_random_state_alone() -> None:
    state = torch.get_rng_state()
    one, two, other = (TaughtNetwork(networks.build("mini_deit"), [4, 5], seed) for seed in (0, 0, 1))
    assert one.depths == [2, 5]
    assert torch.equal(one.guesses[0][1].weight, two.guesses[0][1].weight)
    assert not torch.equal(one.guesses[0][1].weight, other.guesses[0][1].weight)
    TaughtNetwork(one.net, [4], 0)
    torch.set_rng_state(state)
    TaughtNetwork(one.net, [4], 7)
    assert torch.equal(torch.get_rng_state(), state)
