"""Times of several networks, measured in turn: what disturbs the machine hits all of them alike."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch

from microtome.numerics.statistics.paired_ratios import turn_order
from microtome.specimen import Specimen

WARM_UPS = 2  # forward passes of each input that are not timed


def times_in_turn(specimens: Sequence[Specimen], inputs: Sequence[Sequence[torch.Tensor]], rounds: int) -> np.ndarray[Any, Any]:
    """Milliseconds (specimen, input, round) of forward passes: in every round each specimen runs each of its inputs once."""
    times = np.zeros((len(specimens), len(inputs[0]), rounds))
    for specimen, own in zip(specimens, inputs, strict=True):
        for x in [*own] * WARM_UPS:
            specimen.run(x)
    for number in range(rounds):
        for place in turn_order(len(specimens), number):
            for which, x in enumerate(inputs[place]):
                times[place, which, number] = 1e3 * _seconds(lambda place=place, x=x: specimens[place].run(x), x)
    return times


def _seconds(run: Callable[[], Any], x: torch.Tensor) -> float:
    _synchronise(x)
    began = perf_counter()
    run()
    _synchronise(x)
    return perf_counter() - began


def _synchronise(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    elif x.device.type == "mps":
        torch.mps.synchronize()
