"""Run an experiment: make every run that is not finished, then write experiment.json, the finding and the page of all of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from microtome.analysis.contract import time_and_versions
from microtome.atomic_write import write_json
from microtome.errors import FindingError
from microtome.finding import CARD
from microtome.report.html import write_report
from microtome.store import Store
from microtome.training.experiment.definition import Experiment, check_seeds, load_experiment
from microtome.training.experiment.experiment_finding import NAME as EXPERIMENT
from microtome.training.experiment.experiment_finding import experiment_finding
from microtome.training.experiment.run_plan import FAILED, FINISHED, PlannedRun, plan_runs
from microtome.training.experiment.summary import SUMMARY, summarise
from microtome.training.experiment.workers import RunEvent, RunListener, check_workers, work_off


@dataclass(frozen=True)
class ExperimentOutcome:
    """What an experiment came to: its folder, the content of experiment.json, the page, and the runs that failed with their reasons."""

    folder: Path
    summary: dict[str, Any]
    report: Path
    failed: tuple[tuple[str, str], ...]


def _ignore_run_event(event: RunEvent) -> None:
    """The listener that does nothing."""


def run_experiment(
    experiment: Experiment | str | Path,
    out: str | Path,
    workers: int | str = 1,
    *,
    seeds: Sequence[int] | None = None,
    listener: RunListener = _ignore_run_event,
) -> ExperimentOutcome:
    """Train and measure every variant with every seed, and compare them; finished runs are not repeated, killed ones go on.

    `experiment` may be the path of its TOML file. `workers`: 1 for this process, a number of processes, or "ray"; with several processes
    a script needs `if __name__ == "__main__":`. `seeds` take the place of the experiment's own. A run that fails is written down with
    its reason and tried again by the next call.

    Raises:
        BadOption, UnknownName: something in the file, or another argument, that does not exist or fit; before anything is trained.
        CheckpointError: a run's folder belongs to another recipe.
        MissingExtra: Ray is asked for and not installed.
    """
    experiment = experiment if isinstance(experiment, Experiment) else load_experiment(experiment)
    count = check_workers(workers)
    store = Store.create(out)
    runs = plan_runs(experiment, store.root, None if seeds is None else check_seeds(list(seeds)))
    for run in runs:
        run.check_folder()
    began = time.monotonic()
    due = [run for run in runs if run.state() != FINISHED]
    for run in runs:
        if run not in due:
            listener(RunEvent("reused", run.name, "finished before", {}))

    def follow(event: RunEvent) -> None:
        listener(event)
        if event.kind in (FINISHED, FAILED) and len(due) > 1:  # the page grows with the runs
            write_outcome(experiment, runs, store, began)

    try:
        work_off(experiment, due, count, follow)
    finally:  # an interrupted experiment shows what it has
        outcome = write_outcome(experiment, runs, store, began)
    return outcome


def write_outcome(experiment: Experiment, runs: Sequence[PlannedRun], store: Store, began: float) -> ExperimentOutcome:
    """Write experiment.json, the finding and the page of what is finished so far."""
    summary = summarise(experiment, runs)
    write_json(store.root / SUMMARY, summary)
    place = store.save(experiment_finding(summary, time_and_versions(began)))
    failed = tuple((run.name, str((run.result() or {}).get("reason", ""))) for run in runs if run.state() == FAILED)
    places = [place, *(card.parent for run in runs for card in sorted(run.folder.rglob(CARD)))]
    store.write_run(
        {
            "title": experiment.title or experiment.name,
            "answer": EXPERIMENT,
            "command": f"microtome experiment {experiment.name}.toml --out {store.root}",
            "specimens": [run.name for run in runs],
            "findings": [path.relative_to(store.root).as_posix() for path in places if not _is_scratch(path, store.root)],
            "failed": [{"specimen": name, "analysis": "training", "reason": reason} for name, reason in failed],
            "skipped": _skipped(summary),
            "seconds": round(time.monotonic() - began, 1),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    try:
        page = write_report(store.root)
    except FindingError as error:
        raise FindingError(f"The page of '{store.root}' cannot be written: {error}") from error
    return ExperimentOutcome(store.root, summary, page, failed)


def _is_scratch(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _skipped(summary: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"specimen": f"{run['variant']}, seed {run['seed']}", **skipped}
        for run in summary["runs"]
        for skipped in run.get("skipped", [])
    ]
