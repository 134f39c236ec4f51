"""Run the benchmarks, print their table, keep results: `python -m benchmarks [--only NAME] [--device cpu|cuda] [--rounds N]`.

`python -m benchmarks coverage [--draws N]` simulates how often the intervals hold the true value and writes docs/coverage.md.
`python -m benchmarks first_answer` times whole commands beside their plans and writes the table of docs/effort.md.
`python -m benchmarks slimming [--only NETWORK] [--heal N]` removes blocks and writes the tables of docs/slim.md.
`python -m benchmarks slim_proof [--only NETWORK] [--latency] [--page]` holds that against Torch-Pruning: docs/slim_proof.md.
`python -m benchmarks attribution_truth` ranks attribution methods where the truth is known and writes docs/attribution_truth.md.
`python -m benchmarks choice [--page]` scores candidates, trains them on 12 tasks and writes docs/choice.md; a stopped run goes on.
`python -m benchmarks choice --advice` keeps the trained accuracies and measures only what `compare` recommends again.
`python -m benchmarks robustness [--page]` measures networks under corruptions and contrast and writes docs/robustness.md; it goes on too.
"""

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks import (
    attribution_truth,
    choice,
    coverage,
    first_answer,
    machine,
    robustness,
    slim_proof,
    slim_proof_page,
    slimming,
)
from benchmarks.timing import Disagreement, Plan

NAMES = ("gradcam", "cam_kinds", "cam_peers", "cka", "occlusion", "occlusion_loop", "whole", "banding", "erf", "logme")
RESULTS = Path(__file__).parent / "results"
PAGE = machine.ROOT / "docs" / "benchmarks.md"
MARKS = ("<!-- generated: results -->", "<!-- end of generated: results -->")


def main(words: list[str] | None = None) -> int:
    """The exit status: 0, or 1 where contenders do not agree."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed against named peers, as ratios in one run."
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=("speed", "coverage", "first_answer", "attribution_truth", "choice", "robustness", "slimming", "slim_proof"),
        default="speed",
        help="what is measured",
    )
    parser.add_argument("--draws", type=int, default=coverage.DRAWS, help="samples for each row of coverage, at least 100")
    parser.add_argument(
        "--only", action="append", help="this benchmark, or network of slimming or slim_proof (may be given several times)"
    )
    parser.add_argument("--heal", type=int, default=0, help="steps of the fine-tune of slimming")
    parser.add_argument(
        "--repeats", type=int, default=1, help="of choice: draws of the training images of each task, at least 1"
    )
    parser.add_argument("--advice", action="store_true", help="of choice: measure only what compare recommends again")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=9, help="of Grad-CAM; a third of it for the longer ones, at least 3")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and images; nothing is written")
    parser.add_argument("--latency", action="store_true", help="only measure the latencies again, of slimming or slim_proof")
    parser.add_argument("--page", action="store_true", help="only write the tables again from the results that are there")
    given = parser.parse_args(words)
    if given.command == "coverage":
        if given.draws < 100:
            parser.error(f"--draws is {given.draws}; give 100 or more")
        coverage.write_page(given.draws)
        return 0
    if given.command == "first_answer":
        first_answer.write_page()
        return 0
    if given.command == "attribution_truth":
        attribution_truth.write_page()
        return 0
    if given.command == "choice":
        if given.repeats < 1:
            parser.error(f"--repeats is {given.repeats}; give 1 or more")
        choice.write_page(choice.Size(draws=given.repeats), given.page, given.advice)
        return 0
    if given.command == "robustness":
        robustness.write_page(page_only=given.page)
        return 0
    if given.command in ("slimming", "slim_proof"):
        _removal(given)
        return 0
    if unknown := [name for name in given.only or () if name not in NAMES]:
        parser.error(f"there is no benchmark '{unknown[0]}'; they are {', '.join(NAMES)}")
    if given.page:
        _pages()
        return 0
    if given.rounds < 1:
        parser.error(f"--rounds is {given.rounds}; give 1 or more")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no such device here; try --device cpu")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # peers warn of their own pasts
    plan = Plan(given.device, given.rounds, given.quick)
    status = 0
    for name in given.only or NAMES:
        facts = machine.described(plan.device)
        try:
            result = importlib.import_module(f"benchmarks.{name}").run(plan)
        except Disagreement as error:
            print(f"{name}: not timed. {error}", file=sys.stderr)
            status = 1
            continue
        content = {
            "name": name, "title": result.title, "timed": result.timed, "unit": plan.unit, "machine": facts, "rounds": plan.rounds,
            "rows": [row.json() for row in result.rows], "notes": result.notes, "details": result.details,
        }  # fmt: skip
        print(_section(content), flush=True)
        if not plan.quick:
            RESULTS.mkdir(exist_ok=True)
            place = RESULTS / (f"{name}.json" if plan.device == "cpu" else f"{name}-{plan.device}.json")
            place.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            _pages()
    return status


def _removal(given: argparse.Namespace) -> None:
    """Run the benchmarks that remove blocks, or a part of them."""
    only = given.only or ()
    if given.command == "slimming":
        if given.latency:
            slimming.measure_latencies(only)
        elif given.page:
            slimming.write_page()
        else:
            slimming.measure(only, given.heal, RESULTS / "slimming" / "kept")
    elif given.page:
        slim_proof_page.write_page()
    elif given.latency:
        slim_proof.measure_latencies(only)
    else:
        slim_proof.measure(only)


def _section(content: dict[str, Any]) -> str:
    """A benchmark's result as Markdown."""
    unit = content["unit"]
    lines = [
        f"### {content['title']}\n",
        f"| what | against | ours ({unit}) | it ({unit}) | ratio (range) | target | met |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in content["rows"]:
        sign = "" if row["target"] is None else f"{'≤' if row['inverse'] else '≥'} {row['target']:g}"
        met = {True: "yes", False: "**no**", None: ""}[row["met"]]
        lines.append(
            f"| {row['what']} | {row['peer']} | {row['ours_seconds']:.3g} | {row['peer_seconds']:.3g} | "
            f"{row['ratio']:.2f} ({row['low']:.2f}–{row['high']:.2f}) | {sign} | {met} |"
        )
    ratio = "it / ours" if not any(row["inverse"] for row in content["rows"]) else "ours / it"
    lines.append(f"\nRatio: {ratio}, median and range over rounds. {content['timed']}\n")
    lines += [f"- {note}" for note in content["notes"]]
    lines.append(f"\n{machine.sentence(content['machine'])}\n")
    return "\n".join(lines)


def _pages() -> None:
    """Write results.md, and the generated part of docs/benchmarks.md, from the results that are there."""
    order = {name: place for place, name in enumerate(NAMES)}
    paths = sorted(RESULTS.glob("*.json"), key=lambda path: (order.get(path.stem.split("-")[0], 99), path.stem))
    body = "\n".join(_section(json.loads(path.read_text(encoding="utf-8"))) for path in paths)
    (RESULTS / "results.md").write_text(f"# Results\n\nWritten by `python -m benchmarks`.\n\n{body}", encoding="utf-8")
    if PAGE.is_file():
        text = PAGE.read_text(encoding="utf-8")
        start, end = (text.index(mark) for mark in MARKS)
        PAGE.write_text(text[: start + len(MARKS[0])] + "\n\n" + body + "\n" + text[end:], encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
