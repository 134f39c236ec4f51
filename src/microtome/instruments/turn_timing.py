"""Times of several networks, measured in turn: what disturbs the machine hits all of them alike."""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import torch

from microtome.numerics.statistics.paired_ratios import turn_order
from microtome.specimen import Specimen

WARM_UPS = 2  # forward passes of each input that are not timed
SEARCH_RUNS = 3  # timed passes of each batch size tried; the fastest counts
NEAR = 0.1  # times per image that differ by less are taken for equal in the search
Values = np.ndarray[Any, Any]
Run = Callable[[torch.Tensor], Any]


def times_in_turn(specimens: Sequence[Specimen], inputs: Sequence[Sequence[torch.Tensor]], rounds: int) -> Values:
    """Milliseconds (specimen, input, round) of forward passes: in every round each specimen runs each of its inputs once."""
    return time_calls([[(specimen.run, x) for x in own] for specimen, own in zip(specimens, inputs, strict=True)], rounds)


def time_calls(calls: Sequence[Sequence[tuple[Run, torch.Tensor]]], rounds: int) -> Values:
    """Milliseconds (network, call, round): in every round each network makes each of its calls once, after a warm-up of all.

    Where networks have different numbers of calls, what is missing is not a number.
    """
    times = np.full((len(calls), max(map(len, calls)), rounds), np.nan)
    for own in calls:
        for run, x in [*own] * WARM_UPS:
            run(x)
    for number in range(rounds):
        for place in turn_order(len(calls), number):
            for which, (run, x) in enumerate(calls[place]):
                times[place, which, number] = 1e3 * _seconds(run, x)
    return times


def batch_sizes(most: int) -> list[int]:
    """The batch sizes that are tried: 1, 2, 4 … and the largest allowed."""
    return sorted({*(2**power for power in range(most.bit_length()) if 2**power <= most), most})


def times_by_batch(specimen: Specimen, sizes: Sequence[int]) -> Values:
    """Milliseconds per image (size,) of batches of these sizes, each the fastest of a few runs in turn after one that is not timed."""
    inputs = [specimen.noise(size) for size in sizes]
    for x in inputs:
        specimen.run(x)
    rounds = [[1e3 * _seconds(specimen.run, x) / len(x) for x in inputs] for _ in range(SEARCH_RUNS)]
    return np.min(rounds, axis=0)


def fastest_size(sizes: Sequence[int], times: Values) -> int:
    """The largest batch size that takes at most a tenth longer per image than the fastest."""
    return max(size for size, each in zip(sizes, times, strict=True) if each <= (1 + NEAR) * np.min(times))


def _seconds(run: Run, x: torch.Tensor) -> float:
    _synchronise(x)
    began = perf_counter()
    run(x)
    _synchronise(x)
    return perf_counter() - began


def _synchronise(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize(x.device)
    elif x.device.type == "mps":
        torch.mps.synchronize()
