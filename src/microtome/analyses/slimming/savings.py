"""What candidates save: parameters, multiply-adds, live memory, and the time of one pass, measured in turn with the full network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from torch import nn

from microtome.batch_size import image_bytes
from microtome.instruments.turn_timing import times_in_turn
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.medians import median_interval
from microtome.specimen import Specimen


class Savings(NamedTuple):
    """Counts of one network, and its latency as a fraction of the full network's, with an interval."""

    parameters: int
    operations: float
    memory: int  # bytes that one image's tensors hold at most
    latency: Interval


def measure_savings(
    specimen: Specimen, networks: Sequence[nn.Module], batch: int, rounds: int, passed: Callable[[], None]
) -> list[Savings]:
    """The savings of each network, in order; the first entry is the full network itself. Every round times every network once."""
    workers = [replace(specimen, net=net, maker=None, opened_as=None) for net in (specimen.net, *networks)]
    x = [[specimen.noise(batch)] for _ in workers]
    times = times_in_turn(workers, x, rounds)[:, 0]
    savings: list[Savings] = []
    for worker, own in zip(workers, times, strict=True):
        logs = median_interval(np.log(own) - np.log(times[0]))
        count = sum(parameter.numel() for parameter in worker.net.parameters())
        operations = count_multiply_adds(worker.net, specimen.noise(1))
        savings.append(Savings(count, operations, image_bytes(worker, gradients=False), Interval(*map(float, np.exp(logs)))))
        passed()
    return savings
