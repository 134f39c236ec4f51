"""The global random generators under one seed, for code that draws from them without asking."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seed_generators(seed: int, *, alone: bool = False) -> Generator[None]:
    """Start the global generators of torch, NumPy and Python at `seed`; afterwards they are as they were before.

    `alone`: calls like `torch.manual_seed(0)` inside the block are ignored, so that code which seeds itself draws under our seed.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        try:
            if alone:
                with _seeds_ignored():
                    yield
            else:
                yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


@contextmanager
def _seeds_ignored() -> Generator[None]:
    """Replace the functions that set a global seed by ones that do nothing, until the block ends."""

    def keep_generator(*_: Any, **__: Any) -> torch.Generator:
        return torch.default_generator

    def keep_state(*_: Any, **__: Any) -> None:
        return None

    places: list[tuple[Any, str, Any]] = [
        (torch, "manual_seed", keep_generator),
        (torch.random, "manual_seed", keep_generator),
        (np.random, "seed", keep_state),
        (random, "seed", keep_state),
    ]
    originals = [getattr(owner, name) for owner, name, _ in places]
    for owner, name, substitute in places:
        setattr(owner, name, substitute)
    try:
        yield
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)
