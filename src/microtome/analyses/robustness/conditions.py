"""The conditions under which images are shown: clean, every corruption in every severity, every amount of a sweep."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from microtome.images.corruptions import corrupt
from microtome.images.corruptions.sweeps import ON_INPUT, SWEEPS, sweep_pixels
from microtome.specimen import Specimen

Pixels = np.ndarray[Any, Any]


class Condition(NamedTuple):
    """A corruption with its severity, or a sweep with its amount."""

    name: str
    amount: float
    is_sweep: bool


def list_conditions(corruptions: Sequence[str], severities: Sequence[int], sweeps: Sequence[str]) -> list[Condition]:
    """Every condition but the clean one, corruptions first."""
    corrupted = [Condition(name, severity, False) for name in corruptions for severity in severities]
    return corrupted + [Condition(name, amount, True) for name in sweeps for amount in SWEEPS[name][1]]


def inputs_under(condition: Condition, specimen: Specimen, pixels: Pixels, x: Tensor, seed: int) -> Tensor:
    """The network's input under a condition, from 8-bit pixels (image, row, col, rgb) and the clean normalised input."""
    if condition.name in ON_INPUT and condition.is_sweep:
        return x * condition.amount
    if condition.is_sweep:
        changed = sweep_pixels(pixels, condition.name, condition.amount)
    else:
        changed = corrupt(pixels, condition.name, int(condition.amount), seed)
    return specimen.recipe.normalise(torch.from_numpy(changed).to(specimen.device))
