"""What every measuring verb does: open, measure, save, tell; and the verb that does it again for a saved finding."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microtome import catalog
from microtome.cli import arguments
from microtome.cli.progress import listeners
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
    said: dict[str, Any],
) -> int:
    """Open, measure, save and tell; the exit code. Misspelt analyses and options are refused before anything is loaded."""
    for name in (*only, *skip, *settings):
        catalog.analysis_entry(name)
    from microtome.runner import plan
    from microtome.scan import resolve_device

    resolve_device(said["device"])
    plan(only, skip, settings)
    return _measure_all(
        arguments.specimen_openers(names, said), arguments.parse_images(where, said), only, skip, settings, wanted, said, names
    )


def _measure_all(
    specimens: "Sequence[Callable[[], Specimen]]",
    images: "Images | None",
    only: Sequence[str],
    skip: Sequence[str],
    settings: Settings,
    wanted: bool,
    said: dict[str, Any],
    names: Sequence[str],
) -> int:
    from microtome.cli.telling import report_outcome
    from microtome.runner import analyze
    from microtome.scan import Pace

    began = time.monotonic()
    if said["threads"] is not None:
        import torch

        torch.set_num_threads(said["threads"])
    with listeners(said["as_json"], said["quiet"]) as (step, event):
        pace = Pace(device=said["device"], batch=said["batch"], listener=step)
        told = {"command": " ".join(["microtome", *sys.argv[1:]]), "title": said.get("title") or _report_title(names, images)}
        outcome = analyze(
            specimens, images, said["out"], only=only, skip=skip, settings=settings, pace=pace, listener=event, said=told
        )
    return report_outcome(outcome, images, wanted, said["as_json"], said["quiet"], time.monotonic() - began)


def _report_title(names: Sequence[str], images: "Images | None") -> str:
    """What the report is headed with, when nobody named it."""
    what = " and ".join(names) if len(names) <= 2 else f"{len(names)} networks"
    return what if images is None else f"{what} on {images.name}"


@click.command()
@click.argument("folder", metavar="FINDING")
@click.option("--out", help="Folder for the findings; the one that FINDING lies in by default.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps.")
def rerun(folder: str, out: str | None, device: str) -> int:
    """Measure a saved finding again: the same network, images and options."""
    from microtome.finding import card

    origin = card(folder)["origin"]
    analysis = card(folder)["analysis"]
    facts = origin.get("specimen", {})
    asked = facts.get("opened_as")
    if not facts:
        raise UsageError(
            f"{folder} is about several specimens; make it again with: microtome compare {Path(folder).parents[2]}"
        )
    if not asked:
        raise UsageError(
            f"{folder} was measured on a network handed over in Python, so microtome cannot open it again; call the analysis there."
        )

    def opened() -> "Specimen":
        from microtome.opening.opening import open as open_specimen

        words = {name: asked[name] for name in ("seed", "labels", "family")}
        words["edits"] = asked.get("edits", [])
        return open_specimen(asked["what"], asked["weights"], recipe=facts["recipe"], **words, **asked["options"])

    said = {"out": out or str(Path(folder).resolve().parents[2]), "device": device, "batch": 32, "threads": None,
            "as_json": False, "quiet": False}  # fmt: skip
    return _measure_all(
        [opened],
        _finding_images(origin.get("images", {})),
        [analysis],
        [],
        {analysis: origin["options"]},
        False,
        said,
        [facts["name"]],
    )


def _finding_images(said: dict[str, Any]) -> "Images | None":
    """The images that a finding says it was measured on, or None for one that needed none.

    Raises:
        UsageError: they were tensors in memory, which are gone.
    """
    if not said:
        return None
    from microtome.images import Images

    told = dict(said["options"])
    taken = told.pop("taken", None)
    if said["kind"] == "tensors":
        raise UsageError(
            "the finding was measured on tensors in memory, which are gone; call the analysis in Python with them."
        )
    images = Images.scenes(**told) if said["kind"] == "scenes" else Images.folder(told.pop("path"), **told)
    return images if taken is None else images.take(taken)


def split_list(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    return [word.strip() for word in text.split(",") if word.strip()]
