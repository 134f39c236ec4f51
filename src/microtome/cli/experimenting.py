"""The verb that trains a baseline and variants of it over seeds, measures and compares them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome.cli import arguments
from microtome.errors import BadOption

if TYPE_CHECKING:
    from microtome.training.experiment.run import ExperimentOutcome
    from microtome.training.experiment.run_plan import PlannedRun
    from microtome.training.experiment.workers import RunEvent

EXPERIMENT_HELP = """Train a baseline and variants over seeds, analyse every network, and compare them with intervals.

FILE.toml names a recipe, variants, seeds, analyses and numbers (docs/own_experiment.md). Every run has a folder of its own below DIR:
an interrupted experiment goes on where it was, a finished run is not repeated, a failed one is tried again.

\b
  microtome experiment experiments/removal.toml --out runs/removal
  microtome experiment my.toml --out runs/my --workers 4 --seeds 0,1,2
"""


@click.command(
    "experiment", help=EXPERIMENT_HELP, short_help="Train variants over seeds, analyse and compare them with intervals."
)
@click.argument("file", metavar="FILE.toml")
@click.option("--out", help="Folder of the runs, the findings and the report; runs/NAME by default.")
@click.option("--workers", default="1", show_default=True, help="Processes of one thread each, or ray.")
@click.option("--seeds", default="", help="Seeds in place of the file's, comma-separated: 0,1,2.")
@click.option("--list-runs", is_flag=True, help="List the runs and how far each has come; train nothing.")
@click.option("--page", help="Markdown file to write the result to as well.")
@arguments.JSON
@arguments.QUIET
def experiment_command(
    file: str, out: str | None, workers: str, seeds: str, list_runs: bool, page: str | None, as_json: bool, quiet: bool
) -> int:
    """Run an experiment and print the differences; the exit code: 1 where a run failed."""
    from microtome.training.experiment.definition import load_experiment
    from microtome.training.experiment.run import run_experiment
    from microtome.training.experiment.run_plan import plan_runs

    experiment = load_experiment(file)
    folder = Path(out or f"runs/{experiment.name}")
    chosen = parse_seeds(seeds)
    if list_runs:
        _list_runs(plan_runs(experiment, folder, chosen), as_json)
        return 0
    outcome = run_experiment(experiment, folder, workers, seeds=chosen, listener=event_printer(as_json, quiet))
    if page:
        write_page(outcome.summary, Path(page), file)
    _print_outcome(outcome, as_json, quiet)
    return 1 if outcome.failed else 0


def parse_seeds(text: str) -> list[int] | None:
    """The seeds of a comma-separated list; None for an empty text. Raises: BadOption."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise BadOption(f"--seeds '{text}' is not a list of whole numbers; write for example --seeds 0,1,2.")
    return [int(part) for part in parts] or None


def event_printer(as_json: bool, quiet: bool) -> Any:
    """A function that prints the events of runs."""

    def show(event: "RunEvent") -> None:
        if as_json:
            click.echo(json.dumps({"event": event.kind, "run": event.run, "text": event.text, **event.facts}, default=str))
        elif event.kind == "failed":
            click.echo(f"FAILED {event.run}: {event.text}", err=True)
        elif not quiet:
            click.echo(f"{event.run}: {event.text}")

    return show


def write_page(summary: dict[str, Any], page: Path, definition: str) -> None:
    """Write the Markdown page and, beside it, the JSON file that it is written from."""
    from microtome.atomic_write import atomic_write
    from microtome.training.experiment.markdown_page import markdown_page

    source = page.with_suffix(".json")
    for path, text in (
        (source, json.dumps(summary, indent=1, ensure_ascii=False) + "\n"),
        (page, markdown_page(summary, source.name, definition)),
    ):
        with atomic_write(path) as out:
            out.write(text.encode())


def _list_runs(runs: "list[PlannedRun]", as_json: bool) -> None:
    width = max(len(run.name) for run in runs)
    for run in runs:
        facts = {"run": run.name, "state": run.state(), "recipe": run.recipe.digest[:12], "folder": str(run.folder)}
        click.echo(
            json.dumps(facts) if as_json else f"{run.name:<{width}}  {facts['state']:<9}  {facts['recipe']}  {run.folder}"
        )


def _print_outcome(outcome: "ExperimentOutcome", as_json: bool, quiet: bool) -> None:
    from microtome.training.experiment.wording import experiment_headline, few_seeds_line, interval_text, seeds_text

    summary = outcome.summary
    if as_json:
        end = {"event": "end", "out": str(outcome.folder), "report": str(outcome.report), "failed": list(outcome.failed)}
        click.echo(json.dumps(end | {"differences": summary["differences"]}, ensure_ascii=False))
        return
    for row in summary["differences"]:
        over = interval_text(row["over_seeds"], row["unit"])
        click.echo(f"{row['number']}, {row['variant']}: {over} ({row['verdict']}; each seed {seeds_text(row)})")
    if quiet:
        return
    click.echo(experiment_headline(summary))
    if note := few_seeds_line(len(summary["seeds"]), summary["min_seeds"]):
        click.echo(note)
    click.echo(f"Report: {outcome.report.resolve()}")
