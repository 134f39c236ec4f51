"""What networks cost, and which of two is the cheaper one, for what reason.

Latencies say so only where the networks were timed in turn and the interval of their paired ratio excludes 1. Where they do not, fewer
parameters decide, then fewer operations.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from microtome.analyses.compare.criteria import find_number
from microtome.finding import Finding
from microtome.numerics.statistics.paired_ratios import PairedRatios, paired_ratios

COSTS = {"time": "latency per image in a batch", "size": "parameters", "operations": "multiply-adds"}
ORDERS = {"time": ("size", "operations"), "size": ("size", "operations"), "operations": ("operations", "size")}
REASONS = {"time": "lower latency", "size": "fewer parameters", "operations": "fewer operations"}
CLEARLY_CHEAPER = 1 / 1.25  # a network that saves less than a fifth costs about the same
Price = Literal["time", "size", "operations"]
Values = np.ndarray[Any, Any]


class Difference(NamedTuple):
    """What the first of two networks costs over what the second costs, by the first kind of cost in which they differ; and which."""

    ratio: float
    reason: str


class Prices(NamedTuple):
    """Costs (network,) of the kind asked for; all exact costs by kind; and the ratios of latencies, if they decide."""

    kind: Price
    values: Values
    exact: Mapping[str, Values]
    latency: PairedRatios | None = None

    def take(self, indices: Values) -> "Prices":
        """The prices of some of the networks."""
        ratios = self.latency and PairedRatios(*(values[np.ix_(indices, indices)] for values in self.latency))
        return Prices(self.kind, self.values[indices], {name: values[indices] for name, values in self.exact.items()}, ratios)

    def difference(self, first: int, second: int) -> Difference:
        """How two networks differ in cost; a ratio of 1 and no reason where they do not, or nobody knows."""
        if self.latency is not None and (self.latency.high[first, second] < 1 or self.latency.low[first, second] > 1):
            return Difference(float(self.latency.ratio[first, second]), REASONS["time"])
        for kind in ORDERS[self.kind]:
            values = self.exact[kind]
            if np.isfinite(values[[first, second]]).all() and values[first] != values[second]:
                return Difference(float(values[first] / values[second]) if values[second] else np.inf, REASONS[kind])
        return Difference(1.0, "")

    def cheaper(self, limit: float = 1.0) -> Values:
        """Whether each costs less than `limit` times each other (network, other)."""
        count = len(self.values)
        table = [[self.difference(first, second).ratio < limit for second in range(count)] for first in range(count)]
        return np.array(table, dtype=bool).reshape(count, count)


def gather_prices(byname: Mapping[str, Mapping[str, Finding]], kind: Price) -> Prices:
    """What each specimen costs, from its findings."""
    findings = [own.get("cost") for own in byname.values()]
    exact = {name: _values(findings, COSTS[name]) for name in ("size", "operations")}
    latency = _latency_ratios(findings) if kind == "time" else None
    return Prices(kind, _values(findings, COSTS[kind]), exact, latency)


def price_label(byname: Mapping[str, Mapping[str, Finding]], kind: Price) -> tuple[str, str]:
    """The name of the key number that holds the cost, and its unit."""
    numbers = [find_number(own.get("cost"), COSTS[kind]) for own in byname.values()]
    known = next((number for number in numbers if number is not None), None)
    return (known.name, known.unit) if known else (COSTS[kind], "1")


def _values(findings: Sequence[Finding | None], name: str) -> Values:
    numbers = [find_number(finding, name) for finding in findings]
    return np.array([np.nan if number is None else number.value for number in numbers])


def _latency_ratios(findings: Sequence[Finding | None]) -> PairedRatios:
    """The ratios of the times in a batch, where both networks were timed in the same session."""
    sessions = [str(finding.facts.get("session", "")) if finding else "" for finding in findings]
    count = len(findings)
    ratios = PairedRatios(*(np.where(np.eye(count, dtype=bool), 1.0, np.nan) for _ in range(3)))
    for session in dict.fromkeys(filter(None, sessions)):
        members = [place for place, name in enumerate(sessions) if name == session]
        times = np.stack([finding["runs"].values[-1] for index in members if (finding := findings[index])])
        for whole, part in zip(ratios, paired_ratios(times), strict=True):
            whole[np.ix_(members, members)] = part
    return ratios
