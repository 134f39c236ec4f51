"""How well each kind of evidence has chosen networks in the committed benchmark, and which one is therefore trusted.

The benchmark is a file beside this one; where it is missing, nothing is claimed.
"""

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, NamedTuple

from microtome.errors import FindingError
from microtome.key_numbers import format_interval, format_value
from microtome.prose import plural

FILE = "evidence.json"
NO_BENCHMARK = "no committed benchmark"


class ScoreRecord(NamedTuple):
    """Kendall's tau of a score with the accuracy after training, with its interval; regret in points; number of tasks."""

    tau: float
    low: float
    high: float
    regret: float
    tasks: int

    @property
    def decides(self) -> bool:
        """Whether its order was shown to be better than chance."""
        return self.low > 0


class ChoiceBenchmark(NamedTuple):
    """The benchmark: where it is described, how many tasks and candidates it has, and the record of each score."""

    source: str
    tasks: int
    candidates: int
    scores: dict[str, ScoreRecord]


def benchmark_text() -> str:
    """The committed file, or an empty text where there is none."""
    place = files("microtome.analyses.compare") / FILE
    return place.read_text(encoding="utf-8") if place.is_file() else ""


def parse_benchmark(text: str) -> ChoiceBenchmark | None:
    """The benchmark that the text of the file holds; None for an empty text.

    Raises:
        FindingError: the text is not of that form.
    """
    if not text.strip():
        return None
    try:
        content: dict[str, Any] = json.loads(text)
        scores = {
            str(name): ScoreRecord(
                float(record["tau_mean"]), float(record["tau_low"]), float(record["tau_high"]), float(record["regret_mean"]),
                int(record["tasks"]),
            )
            for name, record in content["scores"].items()
        }  # fmt: skip
        tasks = sum(int(count) for count in content["tasks"].values())
        return ChoiceBenchmark(str(content["source"]), tasks, int(content["candidates"]), scores)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FindingError(
            f"{FILE} of compare is not what the benchmark writes ({error!r}). Install microtome again."
        ) from None


def most_trusted(available: Iterable[str], benchmark: ChoiceBenchmark | None) -> str:
    """Of these scores the one with the largest tau, among those whose interval lies above 0; empty where there is none."""
    if benchmark is None:
        return ""
    records = {name: benchmark.scores[name] for name in available if name in benchmark.scores}
    deciding = [name for name, record in records.items() if record.decides]
    return max(deciding, key=lambda name: records[name].tau, default="")


def describe_record(name: str, benchmark: ChoiceBenchmark | None) -> str:
    """A sentence on how well that evidence chose in the benchmark, or that this was not measured."""
    if benchmark is None:
        return f"How well the {name} chooses networks is not known here: {NO_BENCHMARK}."
    record = benchmark.scores.get(name)
    if record is None:
        return f"The benchmark of {benchmark.source} did not measure how well the {name} chooses."
    doubt = "" if record.decides else "; the interval includes 0, so it cannot decide alone"
    return (
        f"In the benchmark of {benchmark.source} ({plural(record.tasks, 'task')}, {plural(benchmark.candidates, 'candidate')}), the order "
        f"by {name} agreed with the final one by a Kendall's tau of {tau_text(record)}, and its choice lost "
        f"{format_value(record.regret)} points of accuracy{doubt}."
    )


def tau_text(record: ScoreRecord) -> str:
    """Tau with its interval."""
    return format_interval(record.tau, record.low, record.high)
