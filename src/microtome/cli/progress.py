"""Progress of a running command: a bar in a terminal, JSON lines with --json, plain lines in a pipe; results alone with --quiet."""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microtome.runner import Event
    from microtome.scan import Step

Listeners = tuple[Callable[["Step"], None], Callable[["Event"], None]]


@contextmanager
def listeners(as_json: bool, quiet: bool) -> Generator[Listeners]:
    """Two functions, for steps and for events. Bars go to stderr, and only when it is a terminal."""
    if as_json:
        yield (
            (lambda step: _print_json({"event": "step", **asdict(step)})),
            (lambda event: _print_json({"event": event.kind, **asdict(event)})),
        )
        return
    if quiet or not sys.stderr.isatty():
        yield (lambda step: None), (_print_result if quiet else _print_event)
        return
    with _progress_bar() as both:
        yield both


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False, default=str), flush=True)


def _print_result(event: "Event") -> None:
    if event.kind in ("measured", "reused"):
        _print_event(event)


def _print_event(event: "Event") -> None:
    if event.kind == "failed":  # reported once, at the end, on stderr
        return
    where = f"{event.specimen}: " if event.specimen else ""
    mark = {"measured": "", "reused": "(reused) ", "skipped": "skipped, "}.get(event.kind, "")
    print(f"{where}{event.analysis}: {mark}{event.text}", flush=True)


@contextmanager
def _progress_bar() -> Generator[Listeners]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()]
    tasks: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def step(progress_step: "Step") -> None:
            if progress_step.what not in tasks:
                for old in tasks.values():
                    progress.update(old, visible=False)
                tasks[progress_step.what] = progress.add_task(progress_step.what, total=max(progress_step.total, 1))
            progress.update(
                tasks[progress_step.what], completed=progress_step.done, visible=progress_step.done < progress_step.total
            )

        def event(outcome: "Event") -> None:
            from rich.text import Text

            style = {"failed": "bold red", "skipped": "yellow", "reused": "dim"}.get(outcome.kind, "")
            name = f"{outcome.specimen}: {outcome.analysis}: " if outcome.specimen else f"{outcome.analysis}: "
            word = "" if outcome.kind == "measured" else f"{outcome.kind}, " if outcome.kind != "reused" else "(reused) "
            progress.console.print(Text.assemble((name, "bold"), (word + outcome.text, style)), soft_wrap=True)

        yield step, event
