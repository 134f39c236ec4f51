"""Does the advice hold? `python -m benchmarks choice` scores candidates, trains them, and writes docs/choice.md and the evidence.

Scores see the training images of a task only. The truth is the accuracy on its test images of a new head on frozen features, and of the
fine-tuned network. Every row is kept as soon as it is measured, so that a stopped run goes on where it was.
"""

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import choice_page, choice_training, machine
from benchmarks.choice_candidates import Candidate, candidates
from benchmarks.choice_real import real_tasks
from benchmarks.choice_tasks import Split, Task, generated_tasks
from benchmarks.choice_training import measure_truth
from microtome.analyses.compare import Compare
from microtome.analyses.cost import Cost
from microtome.analyses.probe import Probe
from microtome.analyses.transfer import Transfer
from microtome.analysis import build_analysis
from microtome.errors import Unmeasurable
from microtome.finding import Finding
from microtome.images import Images
from microtome.specimen import Specimen
from microtome.store import Store

RESULTS = machine.ROOT / "docs" / "choice.json"
FOLDER = machine.ROOT / "build" / "choice"
LAYER_SCORES = ("logme", "gbc", "parc", "h_score", "transrate", "nearest", "ridge", "logistic")
ANALYSES = (build_analysis(Transfer, {"logistic": True}), build_analysis(Probe, {}))
Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is measured: images of each task, draws of training images, and the tasks and candidates by name (empty: all)."""

    training: int = 120
    test: int = 300
    draws: int = 1
    tasks: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


def run(size: Size, folder: Path = FOLDER) -> dict[str, Any]:
    """All measurements as plain values; what is done is kept in `folder`."""
    facts = machine.described("cpu")
    real, reason = real_tasks(size.training, size.test)
    tasks = _named(interleaved(generated_tasks(size.training, size.test), real), size.tasks)
    contenders = _named(candidates(), size.candidates)
    folder = (
        folder / f"{size.training}-{size.test}-{choice_training.EPOCHS}-{choice_training.RATE:g}"
    )  # rows of other sizes stay apart
    folder.mkdir(parents=True, exist_ok=True)
    for draw in range(size.draws):
        for task in tasks:
            measure_task(task, draw, contenders, folder)
    known = read_rows(folder / "rows.jsonl")
    wanted = [(task.name, draw, each.name) for task in tasks for draw in range(size.draws) for each in contenders]
    return {
        "machine": facts,
        "skipped": reason,
        "tasks": [_facts(task) for task in tasks],
        "candidates": [{"name": each.name, "source": each.source, "px": each.px} for each in contenders],
        "rows": [known[key] for key in wanted],
        "recommendations": [recommend(folder, task.name, draw, contenders) for task in tasks for draw in range(size.draws)],
    }


def interleaved(generated: Sequence[Task], real: Sequence[Task]) -> list[Task]:
    """Generated and real tasks in turn, then what is left, so that a run that is stopped early has some of both."""
    pairs = [task for pair in zip(generated, real, strict=False) for task in pair]
    return [*pairs, *generated[len(real) :], *real[len(generated) :]]


def _named(things: Iterable[Any], names: Sequence[str]) -> list[Any]:
    return [thing for thing in things if not names or thing.name in names]


def _facts(task: Task) -> dict[str, Any]:
    sizes = {"training": len(task.training(0).labels), "test": len(task.test().labels)}
    return {
        "name": task.name,
        "title": task.title,
        "classes": len(task.classes),
        "overlap": task.overlap,
        "real": task.real,
        **sizes,
    }


def read_rows(path: Path) -> dict[tuple[str, int, str], Row]:
    """Rows by task, draw and candidate; a last line that was cut off is left out."""
    known: dict[tuple[str, int, str], Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        known[row["task"], row["draw"], row["candidate"]] = row
    return known


def append_row(path: Path, row: Row) -> None:
    """Add a row on a line of its own, also after a line that was cut off."""
    cut = path.is_file() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut and path.stat().st_size else "") + json.dumps(row) + "\n")


def measure_task(task: Task, draw: int, contenders: Sequence[Candidate], folder: Path) -> None:
    """Measure what is missing of one task."""
    path = folder / "rows.jsonl"
    known = read_rows(path)
    missing = [each for each in contenders if (task.name, draw, each.name) not in known]
    if not missing:
        return
    training, test = task.training(draw), task.test()
    for candidate in missing:
        row = measure_row(candidate, task, draw, training, test, folder)
        append_row(path, row)
        print(f"{task.name} {draw} {candidate.name}: head {row['head']:.3f}, fine-tuned {row['finetuned']:.3f}, "
              f"{row['seconds']:.0f} s", flush=True)  # fmt: skip


def measure_row(candidate: Candidate, task: Task, draw: int, training: Split, test: Split, folder: Path) -> Row:
    """Scores, findings and truth of one candidate on one task."""
    began = time.monotonic()
    specimen, findings = measure_findings(candidate, task.name, draw, training.images(task.classes), folder)
    truth = measure_truth(specimen, training, test, seed=draw)
    return {
        "task": task.name,
        "draw": draw,
        "candidate": candidate.name,
        **layer_scores_of(findings["transfer"]),
        "probe": float(findings["probe"].key("best probe accuracy").value),
        "parameters": sum(parameter.numel() for parameter in specimen.net.parameters()),
        "head": truth.head,
        "finetuned": truth.finetuned,
        "seconds": time.monotonic() - began,
    }


def measure_findings(
    candidate: Candidate, task: str, draw: int, images: Images, folder: Path
) -> tuple[Specimen, dict[str, Finding]]:
    """The opened candidate, and its findings by name of the analysis, saved in `folder` beside its cost (measured once)."""
    specimen = replace(candidate.open().on("cpu"), name=candidate.name)
    store = Store.create(folder / "findings" / f"{task}-{draw}")
    findings = {analysis.name(): analysis(specimen, images, twins=0) for analysis in ANALYSES}
    for finding in findings.values():
        store.save(finding)
    if draw == 0 and not list((folder / "cost").glob(f"**/{candidate.name}*")):
        Store.create(folder / "cost").save(build_analysis(Cost, {})(specimen, images, twins=0))
    return specimen, findings


def renew_advice(results: dict[str, Any], folder: Path = FOLDER) -> dict[str, Any]:
    """`results` with what `compare` recommends now: its findings are measured again, the trained networks' accuracies stay.

    What is measured is kept in `folder`, so that a stopped run goes on. Raises: RuntimeError where a score is another one now.
    """
    size = results["tasks"][0]
    real, _ = real_tasks(size["training"], size["test"])
    tasks = {task.name: task for task in [*generated_tasks(size["training"], size["test"]), *real]}
    contenders = _named(candidates(), [each["name"] for each in results["candidates"]])
    known = {(row["task"], row["draw"], row["candidate"]): row for row in results["rows"]}
    folder = folder / "advice"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "renewed.jsonl"
    done = read_rows(path)
    for row in results["recommendations"]:
        task, draw = row["task"], row["draw"]
        images = tasks[task].training(draw).images(tasks[task].classes)
        for candidate in contenders:
            key = (task, draw, candidate.name)
            if key in done:
                continue
            _, findings = measure_findings(candidate, task, draw, images, folder)
            probe = float(findings["probe"].key("best probe accuracy").value)
            if abs(probe - known[key]["probe"]) > 0.02:
                raise RuntimeError(
                    f"{key}: the best probe accuracy is {probe:.3f} now, {known[key]['probe']:.3f} in the results"
                )
            append_row(path, {"task": task, "draw": draw, "candidate": candidate.name, "probe": probe})
            print(f"{task} {draw} {candidate.name}: {probe:.3f}", flush=True)
    advice = [recommend(folder, row["task"], row["draw"], contenders) for row in results["recommendations"]]
    return results | {"recommendations": advice, "advice_machine": machine.described("cpu")}


def layer_scores_of(finding: Finding) -> Row:
    """The scores at the layer of the best LogME, which the key numbers are from, and at the deepest; LEEP and NCE; not a number as None."""
    best, last = int(np.nanargmax(finding["logme"].values)), finding["logme"].sizes["layer"] - 1
    layers = finding["logme"].layer.values.astype(str)
    own = {name: _plain(float(finding["own_classes"].sel(measure=name))) for name in ("LEEP", "NCE")}
    return {
        "layer": str(layers[best]),
        "deepest": str(layers[last]),
        "scores": {name: _plain(float(finding[name][best])) for name in LAYER_SCORES} | own,
        "deepest_scores": {name: _plain(float(finding[name][last])) for name in LAYER_SCORES} | own,
    }


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def recommend(folder: Path, task: str, draw: int, contenders: Sequence[Candidate]) -> Row:
    """What `compare` says of the findings of one task: its choice, its sentence, and the rank of every candidate."""
    names = {each.name for each in contenders}
    roots = (folder / "findings" / f"{task}-{draw}", folder / "cost")
    findings = [Finding.load(path) for root in roots for path in Store(root).current()]
    try:
        compare: Any = build_analysis(Compare, {})
        finding = compare.of([each for each in findings if each.specimen in names])
    except Unmeasurable as error:
        return {"task": task, "draw": draw, "choice": "", "reason": str(error), "rank": {}}
    ranks = {
        str(name): _plain(float(value))
        for name, value in zip(finding["rank"].specimen.values, finding["rank"].values, strict=True)
    }
    return {"task": task, "draw": draw, "choice": finding.facts["choice"], "reason": finding.headline, "rank": ranks,
            "revision": finding.origin["revision"]}  # fmt: skip


def write_page(size: Size, page_only: bool = False, advice_only: bool = False) -> None:
    """Measure what is missing, keep the numbers, and write the page and the evidence.

    With `page_only` from the numbers kept; with `advice_only` only what `compare` recommends is measured again.
    """
    torch.set_num_threads(1)
    if advice_only:
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))
        RESULTS.write_text(json.dumps(renew_advice(kept), indent=0) + "\n", encoding="utf-8")
    elif not page_only:
        RESULTS.write_text(json.dumps(run(size), indent=0) + "\n", encoding="utf-8")
    choice_page.write_pages(json.loads(RESULTS.read_text(encoding="utf-8")))
