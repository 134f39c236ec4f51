"""What a claim is: a sentence of the literature, and all that decides on it, written down before it is run.

A claim is one file under `claims/` with one final class. The docstring is the claim in one sentence and its `Source:`; the constants
are the protocol, literals that are read without importing the file; `run` measures. What `run` gives is an effect with an interval;
the verdict comes from the rule.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from microtome.replicate.rules import DecisionRule

Study = Literal["000", "001", "002", "003", "004"]
ClaimKind = Literal["no training", "real weights", "small networks", "training"]
Preset = Literal["mini", "full"]
PRESETS: tuple[Preset, ...] = ("mini", "full")
EXACT = "exact: nothing is sampled"


@dataclass(frozen=True)
class Effect:
    """The size of what a claim is about, its interval in the same unit, what the interval covers, and the numbers behind it.

    `low` and `high` are not numbers where no interval is known. `rows` are pairs of a name and a number in words, for the reader.
    """

    value: float
    low: float
    high: float
    covers: str
    rows: tuple[tuple[str, str], ...] = ()

    @classmethod
    def exact(cls, value: float, rows: tuple[tuple[str, str], ...] = ()) -> "Effect":
        """An effect that nothing is sampled for: the interval is the value."""
        return cls(value, value, value, EXACT, rows)

    @classmethod
    def unknown(cls, reason: str) -> "Effect":
        """No effect, because of `reason`."""
        return cls(math.nan, math.nan, math.nan, reason)


def ignore_text(_text: str) -> None:
    """Take a line of progress and do nothing."""


@dataclass(frozen=True)
class RunContext:
    """What a run may use: the folder of trained networks and photographs, a folder for what it trains, and a listener for progress."""

    data: Path
    out: Path
    listener: Callable[[str], None] = field(default=ignore_text)
    workers: int = 1


class Claim(ABC):
    """One claim with its protocol. Subclasses are final; the stem of their file is their name everywhere."""

    study: ClassVar[Study]
    kind: ClassVar[ClaimKind]
    hypothesis: ClassVar[str]  # what would be seen if the claim is true, in terms of the measure
    measure: ClassVar[str]  # the effect: what is computed, on what, with which interval
    rule: ClassVar[DecisionRule]
    null: ClassVar[str]  # what would be seen if it is not
    confounders: ClassVar[str]  # what else could give the same result
    prior: ClassVar[str]  # what was known of the result when the rule was written
    mini: ClassVar[str]  # what the preset mini runs
    full: ClassVar[str]  # what the preset full runs or would run
    runs_full: ClassVar[bool] = False  # whether `run` knows the preset full

    @abstractmethod
    def run(self, preset: Preset, context: RunContext) -> Effect:
        """Measure the effect."""
