"""Which blocks can go: `slimming` on the mini zoo and on real networks, the table of docs/slim.md, and the evidence on predictors.

Each network's rows are kept as they come, so that a run that was stopped goes on. Real networks are found in `MICROTOME_DATA`, or beside
the checkout; where they are absent only the mini zoo is measured, and the rows of the others stay what they were.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import microtome as mt
from benchmarks.machine import ROOT
from benchmarks.real_networks import real_networks
from benchmarks.slim_points import latency_ratios
from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.wording import CHOSEN, PENULTIMATE, SMALLEST, chosen_candidate
from microtome.finding import Finding
from microtome.instruments.removal_evidence import EVIDENCE
from microtome.key_numbers import format_interval, format_value
from microtome.networks import FAMILIES, NAMES
from microtome.numerics.statistics.rank_correlations import mean_correlation
from microtome.prose import plural
from microtome.scan import Pace

RESULTS = Path(__file__).parent / "results" / "slimming"
PAGE = ROOT / "docs" / "slim.md"
MARKS = ("<!-- generated: removal -->", "<!-- end of generated: removal -->")
SCENES = 500
LATENCY_ROUNDS = 201


def measure(only: Sequence[str], heal: int, keep: Path) -> None:
    """Measure the networks named (all by default) and write results, page and evidence."""
    scenes = mt.Images.scenes(SCENES)
    for name in NAMES:
        if not only or name in only:
            _keep(name, FAMILIES[name], mt.open(f"microtome:{name}"), scenes, heal, keep)
    for each in real_networks():
        if not only or each.name in only:
            _keep(each.name, each.family, each.open(), each.open_images(), heal, keep, each.count)
    write_page()


def measure_latencies(only: Sequence[str]) -> None:
    """Measure the latencies of the sets that the searches came to again, in turn with the full network, and write the page."""
    torch.set_num_threads(1)
    real = {each.name: each for each in real_networks()}
    for path in sorted(RESULTS.glob("*.json")):
        row = json.loads(path.read_text(encoding="utf-8"))
        blocks = tuple(name for name in row["chosen_set"] if name)
        if (only and row["name"] not in only) or not blocks or (row["name"] not in NAMES and row["name"] not in real):
            continue
        specimen = real[row["name"]].open() if row["name"] in real else mt.open(f"microtome:{row['name']}")
        smaller = mt.edits.remove_blocks.RemoveBlocks(at=blocks)(specimen)
        ((value, low, high),) = latency_ratios(specimen, [smaller.net], 1, LATENCY_ROUNDS)
        row["latency"] = [value, low, high, plural(len(blocks), "block") + " removed"]
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        print(f"{row['name']}: {value:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    write_page()


def _keep(name: str, family: str, specimen: mt.Specimen, images: mt.Images, heal: int, keep: Path, count: int = 2000) -> None:
    finding = Slimming(heal=heal, count=count)(specimen, images, Pace(keep=keep, device="cpu", batch=100))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name.lower().replace(' ', '_')}{f'_heal{heal}' if heal else ''}.json"
    path.write_text(json.dumps(_row(name, family, finding, heal), indent=1) + "\n", encoding="utf-8")
    print(f"{name}: {finding.headline}", flush=True)


def _row(name: str, family: str, finding: Finding, heal: int) -> dict[str, Any]:
    """What the page and the evidence need of one finding."""
    chosen, repair = chosen_candidate(finding)
    single = finding["kind"].values == "block"
    loss = finding["loss"].values
    names = list(map(str, finding["loss"].candidate.values))

    def number(key: str) -> list[Any]:
        numbers = {each.name: each for each in finding.key_numbers}
        return (
            [numbers[key].value, numbers[key].low, numbers[key].high, numbers[key].at]
            if key in numbers
            else [None, None, None, ""]
        )

    free: dict[str, list[str]] = {}
    for place, each in enumerate(map(str, finding["loss"].repair.values)):
        free[each] = [names[row] for row in np.flatnonzero(single) if loss[row, place] < 0.01]
    return {
        "name": name, "family": family, "heal": heal, "images": finding.facts["images"], "blocks": finding.facts["blocks"],
        "refused": list(finding.facts["refused"]), "full": finding.facts["full"],
        "penultimate": number(PENULTIMATE), "smallest": number(SMALLEST), "chosen": number(CHOSEN), "chosen_set": chosen.split(" + "),
        "repair": repair, "latency": number("latency without the blocks of the search"), "below_one_point": free,
        "shown": finding.key("blocks shown to cost no more than the budget alone").value,
        "candidates": {n: [None if np.isnan(v) else round(float(v), 5) for v in row] for n, row in zip(names, loss, strict=True)},
        "correlations": {
            str(each): [*(float(finding[f"correlation{end}"].values[place]) for end in ("", "_low", "_high")),
                        int(finding["pairs"].values[place])]
            for place, each in enumerate(finding["correlation"].measure.values)
        },
        "command": f"microtome slimming {finding.origin['specimen']['name']} IMAGES{f' --heal {heal}' if heal else ''}",
    }  # fmt: skip


def write_page() -> None:
    """Write the table into docs/slim.md, and the evidence that `redundancy` reads, from the kept results."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    plain = [row for row in rows if not row["heal"]]
    evidence = _evidence(plain)
    EVIDENCE.write_text(json.dumps(evidence, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n{_tables(plain, evidence)}\n{MARKS[1]}{after}", encoding="utf-8")


def _evidence(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean rank correlation of every predictor over the networks that have enough blocks."""
    predictors: dict[str, Any] = {}
    for name in rows[0]["correlations"] if rows else []:
        values = np.array([row["correlations"][name][0] for row in rows], dtype=np.float64)
        counts = np.array([row["correlations"][name][3] for row in rows], dtype=np.float64)
        pooled = mean_correlation(values, counts)
        predictors[name] = {
            "mean": pooled.value,
            "low": pooled.low,
            "high": pooled.high,
            "networks": int(np.isfinite(values).sum()),
        }
    return {"predictors": predictors, "networks": [row["name"] for row in rows]}


def _tables(rows: Sequence[dict[str, Any]], evidence: dict[str, Any]) -> str:
    lines = [
        "| network | family | blocks | last but one block: accuracy lost | cheapest block: accuracy lost | below 1 point, alone: no "
        "repair / norms / linear | search: blocks removed, accuracy lost | its latency |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        free = row["below_one_point"]
        counts = " / ".join(str(len(free[each])) if each in free else "–" for each in ("none", "norms", "linear"))
        removed = [name for name in row["chosen_set"] if name]
        lines.append(
            f"| {row['name']} | {row['family']} | {len(row['blocks'])} | {_number(row['penultimate'])} | {_number(row['smallest'])} | "
            f"{counts} | {f'{len(removed)}: ' + _number([*row['chosen'][:3], '']) if removed else 'none'} | "
            f"{_number([*row['latency'][:3], '']) if removed else ''} |"
        )
    lines += ["", "| predictor | mean rank correlation with the loss | networks |", "|---|---|---|"]
    for name, own in evidence["predictors"].items():
        lines.append(f"| {name} | {_number([own['mean'], own['low'], own['high'], ''], '1')} | {own['networks']} |")
    return "\n".join(lines)


def _number(parts: Sequence[Any], unit: str = "fraction") -> str:
    value, low, high, at = parts
    if value is None or np.isnan(value):
        return "cannot be removed" if unit == "fraction" else "unknown"
    text = format_value(value, unit) if low is None or np.isnan(low) else format_interval(value, low, high, unit)
    return f"{text} ({at})" if at else text
