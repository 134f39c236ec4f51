"""The words of experiments: numbers, differences and verdicts as text, what their intervals cover. Needs no torch."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.prose import capitalise, plural

COVERAGE = (
    "**Over images**: the 95% interval of the difference between these very networks, trained already, on other images of this kind. "
    "It says nothing about other seeds.",
    "**Over seeds**: Student's 95% interval of the mean paired difference, seed by seed, from {least} seeds on. The seed is the unit of "
    "replication of a training effect: it stands for first weights, order and augmentation. The interval holds its level where the "
    "differences of seeds are about normal; each one holds it alone, so that of many comparisons 5% miss.",
    "**Not significant** never means equal: the interval shows which differences are still possible.",
)
TOO_FEW = "With {seeds} there is no interval over seeds: the differences below are what was seen, and no claim about training."


def number_text(number: Mapping[str, Any] | None) -> str:
    """A number of one run, with its interval where it has one."""
    if number is None or number["value"] is None:
        return "–"
    low, high = (nan if number[end] is None else float(number[end]) for end in ("low", "high"))
    return format_interval(float(number["value"]), low, high, str(number["unit"]))


def mean_text(values: Sequence[float], unit: str) -> str:
    """The mean of some values."""
    return format_value(sum(values) / len(values), unit) if values else "–"


def interval_text(bounds: Sequence[float | None], unit: str) -> str:
    """A difference with its interval, or alone where there is none; with its sign."""
    value, low, high = (nan if each is None else float(each) for each in bounds)
    if value != value:
        return "–"
    text = format_interval(value, low, high, unit)
    return text if text.startswith("-") or value == 0 else f"+{text}"


def seeds_text(row: Mapping[str, Any]) -> str:
    """The difference of each seed."""
    return ", ".join(interval_text((value, None, None), row["unit"]) for value in row["by_seed"]) or "–"


def coverage_lines(least: int) -> list[str]:
    """What each interval covers, and what not."""
    return [line.format(least=least) for line in COVERAGE]


def few_seeds_line(seeds: int, least: int) -> str:
    """That so many seeds are too few for an interval; empty where they are not."""
    return TOO_FEW.format(seeds=plural(seeds, "seed")) if seeds < least else ""


def changes_text(changes: Mapping[str, Any]) -> str:
    """What of the recipe is another, in one line."""
    return ", ".join(f"{key} = {_value_text(value)}" for key, value in changes.items()) or "the recipe as it is"


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value_text, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def experiment_headline(summary: Mapping[str, Any]) -> str:
    """One sentence of at most 20 words about the first number: the largest difference, with the verdict over seeds."""
    rows = [row for row in summary["differences"] if summary["numbers"] and row["number"] == summary["numbers"][0]["name"]]
    known = [row for row in rows if row["over_seeds"][0] is not None]
    seeds = plural(len(summary["seeds"]), "seed")
    if not known:
        finished = sum(run["state"] == "finished" for run in summary["runs"])
        return f"{finished} of {plural(len(summary['runs']), 'run')} finished; no variant has a difference yet."
    row = max(known, key=lambda row: abs(row["over_seeds"][0]))
    text = interval_text(row["over_seeds"], row["unit"])
    ending = f"over {seeds}" if row["over_seeds"][1] is not None else f"over {seeds}, interval unknown"
    if row["verdict"] == "not significant":
        ending += ", not significant"
    return f"{capitalise(_short(row['number']))} of {_short(row['variant'])}: {text} against {_short(summary['reference'])}, {ending}."


def _short(name: str, words: int = 4) -> str:
    """A name of at most so many words."""
    parts = name.split()
    return name if len(parts) <= words else " ".join(parts[:words]) + "…"


def per_cent_note(numbers: Sequence[Mapping[str, Any]]) -> str:
    """That differences of per cents are percentage points, where there are any."""
    return "Differences of per cents are percentage points." if any(each["unit"] == FRACTION for each in numbers) else ""
