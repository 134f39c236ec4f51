"""The plan of a run in the terminal: minutes and memory of every analysis, before anything is measured."""

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from microtome.prose import name_list, plural

if TYPE_CHECKING:
    from microtome.planning.plan import RunPlan

SMALL = 2.0  # seconds, over all networks, below which analyses share one row


def announcer(given: dict[str, Any]) -> "Callable[[RunPlan], None]":
    """A function that prints the plan: as a table, as one JSON object per line, or not at all with --quiet."""

    def announce(plan: "RunPlan") -> None:
        if given["as_json"]:
            rows = [vars(row) for row in plan.rows]
            event = {"event": "plan", "seconds": round(plan.seconds, 1), "rows": rows, "left_out": dict(plan.left_out)}
            click.echo(json.dumps(event | {"quick": list(plan.quick)}, ensure_ascii=False))
        elif not given["quiet"]:
            click.echo(plan_text(plan))

    return announce


def plan_text(plan: "RunPlan") -> str:
    """The plan as a table, one row for each analysis in the order of the run, and the estimate for the whole."""
    from microtome.planning.effort import format_duration
    from microtome.planning.plan import OPENING, WRITING

    names = list(dict.fromkeys(row.analysis for row in plan.rows))
    networks = list(dict.fromkeys(row.specimen for row in plan.rows))
    memory = {name: max(row.bytes for row in plan.rows if row.analysis == name) for name in names}
    small = [name for name in names if plan.of(name) < SMALL]
    table = Table(title=f"Plan for {plural(len(networks), 'network')}", title_justify="left")
    for title in ("analysis", "time", "memory"):
        table.add_column(title, justify="left" if title == "analysis" else "right")
    for name in (name for name in names if name not in small):
        note = " (quick sizes)" if name in plan.quick else ""
        table.add_row(name + note, format_duration(plan.of(name)), _memory_text(memory[name]))
    if small:
        rest = sum(plan.of(name) for name in small)
        largest = max(memory[name] for name in small)
        table.add_row(name_list(small, 4), format_duration(rest), _memory_text(largest))
    table.add_row("opening and report", format_duration(OPENING + WRITING), "")
    stream = io.StringIO()
    Console(file=stream, width=100).print(table)
    lines = [
        stream.getvalue().rstrip(),
        f"About {format_duration(plan.seconds)} in all, on top of the weights {_memory_text(plan.bytes)}.",
    ]
    lines += [f"Left out: {name}, {reason}." for name, reason in plan.left_out.items()]
    return "\n".join(lines)


def _memory_text(size: float) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{max(1, round(size / 2**20))} MB"
