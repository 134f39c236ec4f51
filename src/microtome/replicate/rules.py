"""Decision rules of claims: a verdict from an effect and its interval, and from nothing else.

A rule is written down before the run. It holds where the whole interval lies where the claim says, does not hold where the whole
interval lies elsewhere, and is inconclusive in between, and where no interval is known. An exact effect has an interval of length 0.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal, final

from microtome.key_numbers import format_value

ClaimVerdict = Literal["holds", "does not hold", "inconclusive here", "not run here"]
HOLDS: ClaimVerdict = "holds"
FAILS: ClaimVerdict = "does not hold"
INCONCLUSIVE: ClaimVerdict = "inconclusive here"
NOT_RUN: ClaimVerdict = "not run here"
CLAIM_VERDICTS = (HOLDS, FAILS, INCONCLUSIVE, NOT_RUN)


@dataclass(frozen=True)
class DecisionRule(ABC):
    """When a claim holds, for effects in `unit`; derived classes say where the interval has to lie."""

    def verdict(self, low: float, high: float) -> ClaimVerdict:
        """What the interval from `low` to `high` says of the claim."""
        if math.isnan(low) or math.isnan(high):
            return INCONCLUSIVE
        if self.accepts(low) and self.accepts(high):
            return HOLDS
        return FAILS if self.excludes(low, high) else INCONCLUSIVE

    @abstractmethod
    def accepts(self, value: float) -> bool:
        """Whether the claim is true of an effect of exactly this size."""

    def excludes(self, low: float, high: float) -> bool:
        """Whether the claim is false of every effect from `low` to `high`."""
        return not self.accepts(low) and not self.accepts(high)

    def json(self) -> dict[str, Any]:
        """The rule as plain values, for the digest of a protocol."""
        return {"rule": type(self).__name__, **asdict(self)}

    @abstractmethod
    def describe(self) -> str:
        """The rule in words."""


@final
@dataclass(frozen=True)
class Above(DecisionRule):
    """The effect is larger than `bound`."""

    bound: float
    unit: str = "1"

    def accepts(self, value: float) -> bool:
        return value > self.bound

    def describe(self) -> str:
        return f"holds if the interval lies above {format_value(self.bound, self.unit)}"


@final
@dataclass(frozen=True)
class Below(DecisionRule):
    """The effect is smaller than `bound`."""

    bound: float
    unit: str = "1"

    def accepts(self, value: float) -> bool:
        return value < self.bound

    def describe(self) -> str:
        return f"holds if the interval lies below {format_value(self.bound, self.unit)}"


@final
@dataclass(frozen=True)
class Within(DecisionRule):
    """The effect lies from `least` to `most`, both included."""

    least: float
    most: float
    unit: str = "1"

    def accepts(self, value: float) -> bool:
        return self.least <= value <= self.most

    def excludes(self, low: float, high: float) -> bool:
        return high < self.least or low > self.most

    def describe(self) -> str:
        if self.least == self.most:
            return f"holds if the effect is exactly {format_value(self.least, self.unit)}"
        return f"holds if the interval lies from {format_value(self.least, self.unit)} to {format_value(self.most, self.unit)}"


RULES: dict[str, type[DecisionRule]] = {kind.__name__: kind for kind in (Above, Below, Within)}
