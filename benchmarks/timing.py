"""Contenders in turn, round after round, in rotating order; what is told are medians and ranges of ratios within a round."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

INSTALL = "python -m pip install -c constraints.txt -e '.[bench]'"


@dataclass(frozen=True)
class Plan:
    """How a benchmark is run: `quick` measures less, to see that it works; its numbers are not kept."""

    device: str = "cpu"
    rounds: int = 9
    quick: bool = False

    @property
    def unit(self) -> str:
        """What a second is here."""
        return "CPU s" if self.device == "cpu" else "s"

    def clock(self) -> float:
        """Seconds of work so far: of all threads of this process on a CPU, of the wall once the device has finished elsewhere."""
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` is how many times longer the peer takes, or for `inverse` how many times longer we do."""

    what: str
    peer: str
    ours_seconds: float
    peer_seconds: float
    ratio: float
    low: float
    high: float
    target: float | None = None
    inverse: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the median ratio reaches the target; None where there is none."""
        if self.target is None:
            return None
        return self.ratio <= self.target if self.inverse else self.ratio >= self.target

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"met": self.met}


@dataclass
class Result:
    """What a benchmark came to: rows, what exactly was timed, and everything else worth keeping."""

    name: str
    title: str
    timed: str
    rows: list[Row] = field(default_factory=list[Row])
    notes: list[str] = field(default_factory=list[str])
    details: dict[str, Any] = field(default_factory=dict[str, Any])


def interleaved(
    plan: Plan, contenders: Mapping[str, Callable[[], object]], rounds: int, warm: bool = True
) -> dict[str, list[float]]:
    """Seconds of each contender in each round; the one that begins changes from round to round. `warm`: each runs once before."""
    names = list(contenders)
    if warm:
        for name in names:
            contenders[name]()
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for step in range(len(names)):
            name = names[(turn + step) % len(names)]
            gc.collect()
            began = plan.clock()
            contenders[name]()
            taken[name].append(plan.clock() - began)
    return taken


def row(
    what: str, taken: Mapping[str, list[float]], ours: str, peer: str, target: float | None = None, *, inverse: bool = False
) -> Row:
    """The comparison of two contenders, from the ratios within each round."""
    top, bottom = (ours, peer) if inverse else (peer, ours)
    ratios = [a / b for a, b in zip(taken[top], taken[bottom], strict=True)]
    middle = statistics.median(ratios)
    seconds = (statistics.median(taken[name]) for name in (ours, peer))
    return Row(what, peer, *seconds, middle, min(ratios), max(ratios), target, inverse)


class Disagreement(Exception):
    """Contenders that should give the same numbers do not, so comparing their speed would mean nothing."""
