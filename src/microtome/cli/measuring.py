"""Common steps of the measuring verbs (open, measure, save, report), and the verb `rerun`."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome import catalog
from microtome.cli import arguments
from microtome.cli.progress import listeners
from microtome.cli.second_network import open_second
from microtome.errors import UsageError

if TYPE_CHECKING:
    from microtome.images import Images
    from microtome.specimen import Specimen

Settings = dict[str, dict[str, Any]]


def measure(
    names: Sequence[str],
    where: str | None,
    only: Sequence[str],
    skip: Sequence[str],
    settings: Settings,
    wanted: bool,
    given: dict[str, Any],
) -> int:
    """Open, measure, save and report; the exit code. Misspelt analyses and options are refused before anything is loaded."""
    for name in (*only, *skip, *settings):
        catalog.analysis_entry(name)
    from microtome.runner import choose_analyses
    from microtome.scan import resolve_device

    resolve_device(given["device"])
    settings = open_second(names, only, settings, given)
    choose_analyses(only, skip, settings)
    given = given | read_limits(given)
    return _measure_all(
        arguments.specimen_openers(names, given),
        arguments.parse_images(where, given),
        only,
        skip,
        settings,
        wanted,
        given,
        names,
    )


def _measure_all(
    specimens: "Sequence[Callable[[], Specimen]]",
    images: "Images | None",
    only: Sequence[str],
    skip: Sequence[str],
    settings: Settings,
    wanted: bool,
    given: dict[str, Any],
    names: Sequence[str],
) -> int:
    from microtome.cli.growing_report import GrowingReport
    from microtome.cli.plan_table import announcer
    from microtome.cli.telling import report_outcome
    from microtome.runner import analyze
    from microtome.scan import Pace

    began = time.monotonic()
    report = GrowingReport(given["quiet"] or given["as_json"])
    if given["threads"] is not None:
        import torch

        torch.set_num_threads(given["threads"])
    with listeners(given["as_json"], given["quiet"]) as (step, event):
        pace = Pace(device=given["device"], batch=given["batch"], listener=step, memory=given.get("memory"))
        record = {
            "command": " ".join(["microtome", *sys.argv[1:]]),
            "title": given.get("title") or _report_title(names, images),
        }
        try:
            outcome = analyze(
                specimens,
                images,
                given["out"],
                only=only,
                skip=skip,
                settings=settings,
                pace=pace,
                listener=event,
                said=record,
                twins=given.get("twins"),
                effort=given.get("effort", "standard"),
                budget=given.get("budget"),
                announce=announcer(given) if given.get("planned") else None,
                finished=report.grow if wanted and given.get("planned") else None,
            )
        except KeyboardInterrupt:
            if wanted:
                report.leave(Path(given["out"]))
            raise
    page = report.finish(outcome.root) if wanted and outcome.findings else None
    return report_outcome(outcome, images, page, given["as_json"], given["quiet"], time.monotonic() - began)


def read_limits(given: dict[str, Any]) -> dict[str, float | None]:
    """Bytes that --memory names and seconds that --budget names, None without them."""
    from microtome.batch_size import parse_bytes
    from microtome.planning.effort import parse_duration

    memory, budget = given.get("memory"), given.get("budget")
    return {"memory": parse_bytes(memory) if memory else None, "budget": parse_duration(budget) if budget else None}


def _report_title(names: Sequence[str], images: "Images | None") -> str:
    """The title of the report if none is given."""
    what = " and ".join(names) if len(names) <= 2 else f"{len(names)} networks"
    return what if images is None else f"{what} on {images.name}"


@click.command()
@click.argument("folder", metavar="FINDING")
@click.option("--out", help="Folder for the findings; that of FINDING by default.")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda or mps.")
def rerun(folder: str, out: str | None, device: str) -> int:
    """Measure a saved finding again with the same network, images and options."""
    from microtome.finding import card

    origin = card(folder)["origin"]
    analysis = card(folder)["analysis"]
    facts = origin.get("specimen", {})
    if not facts:
        raise UsageError(
            f"{folder} covers several specimens; to compute it again: microtome {analysis} {Path(folder).parents[2]}"
        )
    options = origin["options"]
    if second := origin.get("facts", {}).get("second"):
        options = options | {"to": _opener_again(folder, second)()}
    given = {"out": out or str(Path(folder).resolve().parents[2]), "device": device, "batch": 32, "threads": None,
            "as_json": False, "quiet": False}  # fmt: skip
    return _measure_all(
        [_opener_again(folder, facts)],
        _finding_images(origin.get("images", {})),
        [analysis],
        [],
        {analysis: options},
        False,
        given,
        [facts["name"]],
    )


def _opener_again(folder: str, facts: dict[str, Any]) -> "Callable[[], Specimen]":
    """A function that opens again the network that a finding recorded.

    Raises:
        UsageError: it was handed over in Python, so nothing says how to open it.
    """
    asked = facts.get("opened_as")
    if not asked:
        raise UsageError(
            f"{folder} was measured on a network handed over in Python, so microtome cannot open it again; call the analysis there."
        )

    def opened() -> "Specimen":
        from microtome.opening.opening import open as open_specimen

        words = {name: asked[name] for name in ("seed", "labels", "family")}
        words["edits"] = asked.get("edits", [])
        words["state"] = asked.get("state")
        words["output"] = asked.get("output")
        return open_specimen(asked["what"], asked["weights"], recipe=facts["recipe"], **words, **asked["options"])

    return opened


def _finding_images(record: dict[str, Any]) -> "Images | None":
    """The images that a finding was measured on; None if it needed none.

    Raises:
        UsageError: they were tensors in memory, which are gone.
    """
    if not record:
        return None
    from microtome.images import Images

    options = dict(record["options"])
    taken = options.pop("taken", None)
    if record["kind"] == "tensors":
        raise UsageError(
            "The finding was measured on tensors in memory, which were not saved; call the analysis in Python with them."
        )
    images = Images.scenes(**options) if record["kind"] == "scenes" else Images.folder(options.pop("path"), **options)
    return images if taken is None else images.take(taken)


def split_list(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]
