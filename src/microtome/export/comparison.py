"""A network before and after: accuracy on the same images with a paired interval, size, work, memory and time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microtome.analyses.slimming.arrays import Answers, budget_verdict, loss_interval
from microtome.finding import Finding
from microtome.key_numbers import FRACTION, KeyNumber, format_change
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.proportions import proportion_interval

COSTS = ("parameters", "multiply-adds", "live memory", "latency of one image")


@dataclass(frozen=True)
class BeforeAfter:
    """One quantity before and after, and its change, as text."""

    name: str
    before: str
    after: str
    change: str


@dataclass(frozen=True)
class Comparison:
    """All quantities, the accuracy lost (positive: fewer images right), and that loss against the budget in words."""

    rows: tuple[BeforeAfter, ...]
    loss: Interval
    verdict: str

    def json(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = [{"name": row.name, "before": row.before, "after": row.after, "change": row.change} for row in self.rows]
        return {"rows": rows, "loss": list(self.loss), "against_budget": self.verdict}


def compare_answers(
    before: Answers, after: Answers, budget: float, latency: Interval, costs: Mapping[str, Finding]
) -> Comparison:
    """The comparison of answers (image,) on the same images; `costs` are findings of `cost`, "before" and "after".

    `latency` is the time of a pass after, as a fraction of that before, timed in turn.
    """
    own, other = (proportion_interval(int(each.sum()), len(each)) for each in (before, after))
    loss = loss_interval(after, before)
    gain = Interval(-loss.value, -loss.high, -loss.low)
    rows = [BeforeAfter("accuracy", _percent(own), _percent(other), f"{'+' if gain.value > 0 else ''}{_percent(gain)} paired")]
    for name in COSTS if costs else ():
        first, last = (costs[which].key(name) for which in ("before", "after"))
        change = f"{_percent(latency)} of before" if name == "latency of one image" else format_change(first.value, last.value)
        rows.append(BeforeAfter(name, first.text, last.text, change))
    return Comparison(tuple(rows), loss, budget_verdict(loss, budget))


def _percent(interval: Interval) -> str:
    number = KeyNumber(name="", value=interval.value, low=interval.low, high=interval.high, unit=FRACTION, has_interval=True)
    return number.text
