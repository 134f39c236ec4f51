"""Seeds hold inside the block only, and code that seeds itself can be overruled."""

import random

import numpy as np
import pytest
import torch

from microtome.specimen.seeding import seed_generators


def draw() -> tuple[float, float, float]:
    return float(torch.rand(1)), float(np.random.rand()), random.random()


def states() -> tuple[bytes, bytes, object]:
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()


def test_the_same_seed_draws_the_same_and_leaves_no_trace() -> None:
    before = states()
    with seed_generators(3):
        first = draw()
    with seed_generators(3):
        assert draw() == first
    with seed_generators(4):
        assert all(a != b for a, b in zip(draw(), first, strict=True))

    def fail() -> None:
        with seed_generators(5):
            draw()
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        fail()
    assert states() == before


def test_alone_overrules_code_that_seeds_itself_and_gives_the_functions_back() -> None:
    originals = torch.manual_seed, np.random.seed, random.seed

    def self_seeded() -> tuple[float, float, float]:
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        return draw()

    with seed_generators(1, alone=True):
        one = self_seeded()
    with seed_generators(2, alone=True):
        other = self_seeded()
    assert all(a != b for a, b in zip(one, other, strict=True))
    with seed_generators(1), seed_generators(2):
        assert self_seeded() != one
    assert (torch.manual_seed, np.random.seed, random.seed) == originals
