"""Which methods find what a network rests on, where that is known: `python -m benchmarks attribution_truth` writes a page of docs.

Two truths. On the shipped networks and plain scenes the class is that of one object, drawn independently of everything else: its
mask. On networks that learnt a planted cue (`benchmarks.cued_networks`) it is a coloured square in a corner, and the object says nothing.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import microtome
from benchmarks import cued_networks, machine
from microtome import networks
from microtome.images import Images
from microtome.images.scenes import CLASSES
from microtome.instruments.faithfulness.kind_choice import named_kinds
from microtome.instruments.faithfulness.methods import BASELINES, MapRequest, map_methods
from microtome.instruments.faithfulness.removal_trials import RemovalPlan, curve_areas, patch_side, removal_curves
from microtome.instruments.faithfulness.trials import prepare_trials
from microtome.numerics.maps.heat import ordering_auc, pointing_game
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.scan import Pace
from microtome.specimen import Specimen

PAGE = machine.ROOT / "docs" / "attribution_truth.md"
RESULTS = machine.ROOT / "docs" / "attribution_truth.json"
FOLDER = machine.ROOT / "build" / "cued_networks"
COUNT = 20  # images of each network: the fewest that give a mean an interval
SEED = 11
STEPS = 8
SETTINGS = ("object", "cue", "untrained")
MEASURES = ("auc", "pointing", "score")
Row = dict[str, Any]


def run(names: Sequence[str] = networks.NAMES, count: int = COUNT, folder: Path = FOLDER) -> dict[str, Any]:
    """All measurements as plain values: for each setting, network and method the values of every image.

    What is measured of a network is kept in `folder`, so that an interrupted run goes on with the next one.
    """
    facts = machine.described("cpu")
    rows: list[Row] = []
    checks: dict[str, dict[str, float]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        kept = folder / f"{name}-{count}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(measure_network(name, count, folder)), encoding="utf-8")
        known = json.loads(kept.read_text(encoding="utf-8"))
        rows += known["rows"]
        checks[name] = known["check"]
        print(f"{name}: {known['seconds']:.0f} s", flush=True)
    return {"machine": facts, "count": count, "checks": checks, "rows": rows}


def measure_network(name: str, count: int, folder: Path) -> dict[str, Any]:
    """The rows of one network in every setting, and whether its cued form rests on the cue."""
    began = time.monotonic()
    scenes = Images.scenes(count, seed=SEED)
    shipped = microtome.open(f"microtome:{name}")
    rows = measure("object", name, shipped, scenes) + measure("untrained", name, shipped.twin(1, scenes), scenes)
    cued = cued_networks.cued_network(name, folder)
    planted = cued_networks.cued_scenes(count)
    images = Images.tensors(planted.pixels, labels=planted.labels, classes=list(CLASSES), masks=planted.masks)
    rows += measure("cue", name, cued, images)
    return {"rows": rows, "check": cued_networks.check_cue(cued), "seconds": time.monotonic() - began}


def measure(setting: str, network: str, specimen: Specimen, images: Images) -> list[Row]:
    """A row for each method: how well its maps order and point to the pixels of the mask, and its score without masks."""
    worker = specimen.on("cpu")
    x = worker.recipe.normalise(torch.from_numpy(images.inputs(worker.recipe, range(4))))
    methods, refused, layer = map_methods(worker, named_kinds(("all",)), "deep", x)
    plan = RemovalPlan(STEPS, patch_side(worker.recipe.size))
    values: dict[str, dict[str, list[np.ndarray[Any, Any]]]] = {
        method.name: {key: [] for key in MEASURES} for method in methods
    }
    seconds = dict.fromkeys(values, 0.0)
    for trial in prepare_trials(worker, images, plan, Pace(batch=COUNT)):
        masks = torch.from_numpy(images.masks(worker.recipe, trial.batch.index))
        request = MapRequest(trial.request.x, trial.batch.index, trial.request.classes[:1])
        for method in methods:
            began = time.monotonic()
            (heat,) = method.draw(worker, request)
            seconds[method.name] += time.monotonic() - began
            own = values[method.name]
            own["auc"].append(ordering_auc(heat.float(), masks).numpy())
            own["pointing"].append(pointing_game(heat - heat.amin((1, 2), keepdim=True), masks, 0.0).numpy())
            own["score"].append(curve_areas(trial.canvas, removal_curves(trial.canvas, trial.canvas.order(heat)))["score"])
    return [
        {
            "setting": setting, "network": network, "layer": layer, "method": method.name, "title": method.title,
            "baseline": method.baseline, "seconds": seconds[method.name],
            **{key: np.concatenate(values[method.name][key]).round(5).tolist() for key in MEASURES},
        }
        for method in methods
    ] + [{"setting": setting, "network": network, "title": title, "refused": reason} for title, reason in refused.items()]  # fmt: skip


def write_page() -> None:
    """Measure everything, keep the numbers and write the page."""
    RESULTS.write_text(json.dumps(run(), indent=0) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")


def page(results: dict[str, Any]) -> str:
    """The page as Markdown."""
    known = [row for row in results["rows"] if "refused" not in row]
    order = sorted({row["method"] for row in known}, key=lambda name: -_overall(known, name))
    titles = {row["method"]: row["title"] for row in known}
    names = list(dict.fromkeys(row["network"] for row in known))
    parts = [
        INTRODUCTION.format(count=results["count"], networks=len(names)),
        _overview(known, order, titles),
        _agreement(known, names),
        *(_by_network(known, order, titles, names, setting) for setting in ("object", "cue")),
        _checks(results["checks"]),
        NOTES,
        machine.sentence(results["machine"]) + "\n",
    ]
    return "\n".join(parts)


def _cells(rows: Sequence[Row], method: str, setting: str, measure: str) -> list[float]:
    """The mean over images of one measure for each network."""
    return [
        float(np.nanmean(row[measure])) for row in rows if (row["method"], row["setting"]) == (method, setting) and row[measure]
    ]


def _overall(rows: Sequence[Row], method: str) -> float:
    """The mean AUC over both truths and all networks, by which the page is ordered."""
    values = [_cells(rows, method, setting, "auc") for setting in ("object", "cue")]
    return float(np.mean([np.mean(part) for part in values if part]))


def _overview(rows: Sequence[Row], order: Sequence[str], titles: dict[str, str]) -> str:
    lines = [
        "## Over all networks\n",
        "| method | networks | AUC, object | AUC, cue | worst network, cue | AUC, untrained | pointing, object | pointing, cue | "
        "score, object | score, cue |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for method in order:
        cue = _cells(rows, method, "cue", "auc")
        cells = [_percent(_cells(rows, method, setting, "auc")) for setting in ("object", "cue")]
        cells += [f"{100 * min(cue):.0f}%", _percent(_cells(rows, method, "untrained", "auc"))]
        cells += [_percent(_cells(rows, method, setting, "pointing")) for setting in ("object", "cue")]
        cells += [f"{np.mean(_cells(rows, method, setting, 'score')):.2f}" for setting in ("object", "cue")]
        name = f"*{titles[method]}*" if method in BASELINES else titles[method]
        lines.append(f"| {name} | {len(cue)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _agreement(rows: Sequence[Row], names: Sequence[str]) -> str:
    """How far the score without masks orders the methods as the truth does."""
    lines = [
        "## Does `faithfulness` find the methods that are right?\n",
        "Its score (insertion minus deletion) sees no mask. Spearman's rank correlation over the methods, baselines included, of the mean "
        "score and the mean AUC; and the AUC of the method that the score puts first, beside the best there is.\n",
        "| network | object: correlation | chosen | best | cue: correlation | chosen | best |",
        "|---|---:|---|---|---:|---|---|",
    ]
    for name in names:
        cells: list[str] = []
        for setting in ("object", "cue"):
            own = [row for row in rows if (row["network"], row["setting"]) == (name, setting)]
            auc, score = ([float(np.nanmean(row[key])) for row in own] for key in ("auc", "score"))
            kinds = [place for place, row in enumerate(own) if not row["baseline"]]
            chosen, best = max(kinds, key=lambda place: score[place]), max(kinds, key=lambda place: auc[place])
            cells.append(f"{spearmanr(auc, score).statistic:.2f}")
            cells += [f"{own[place]['title']}, {100 * auc[place]:.0f}%" for place in (chosen, best)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_network(rows: Sequence[Row], order: Sequence[str], titles: dict[str, str], names: Sequence[str], setting: str) -> str:
    lines = [
        f"## AUC for the {setting}, by network\n",
        f"| method | {' | '.join(f'`{name}`' for name in names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for method in order:
        cells: list[str] = []
        for name in names:
            values = next(
                (row["auc"] for row in rows if (row["network"], row["method"], row["setting"]) == (name, method, setting)), None
            )
            if values is None:
                cells.append("–")
                continue
            value, low, high = (100 * part for part in bounded_mean_interval(np.array(values)))
            cells.append(f"{value:.0f}% [{low:.0f}, {high:.0f}]" if not np.isnan(low) else f"{value:.0f}%")
        name = f"*{titles[method]}*" if method in BASELINES else titles[method]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _checks(checks: dict[str, dict[str, float]]) -> str:
    words = ("right", "follows the square", "stays with another object")
    lines = [
        "## The cued networks rest on the square\n",
        "Of 500 unseen scenes: the answer is the square's class; it follows a square of another colour in the same place; it stays when "
        "everything but the square comes from another scene.\n",
        f"| network | {' | '.join(words)} |\n|---|---:|---:|---:|",
    ]
    lines += [f"| `{name}` | {' | '.join(f'{100 * own[word]:.1f}%' for word in words)} |" for name, own in checks.items()]
    return "\n".join(lines) + "\n"


def _percent(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.0f}%" if values else "–"


INTRODUCTION = """# Attribution methods where the truth is known

Which method finds what a network rests on? On photographs nobody knows. Here it is known by construction, for all {networks} mini
networks that classify, on {count} images each. Written by `python -m benchmarks attribution_truth`.

- **Object**: the shipped networks on plain scenes. The class is that of one object, drawn independently of background, place and colour;
  the truth is its mask.
- **Cue**: the same networks trained on until they answer by a coloured square of 12 px in one of the corners, drawn independently of the
  object. The truth is the square. A method that shows the object here shows what catches the eye, not what the network uses.
- **Untrained**: plain scenes, random weights: what a map shows without anything learnt.

*AUC*: the fraction of pairs of one pixel inside and one outside in which the one inside is hotter; 50% for a map that knows nothing, at any
size. *Pointing*: the hottest pixel lies inside. *Score*: area under the insertion curve minus that under the deletion curve, as in
[`faithfulness`](analyses/faithfulness.md), which sees no mask. Maps are of the predicted class, at the layer `deep` or of the pixels.
Baselines in italics. Methods are ordered by the mean AUC over both truths.
"""
NOTES = """## Interpretation and limits

- Intervals are 95%, over images of one network. Networks of one page share the scenes, and the means over networks have no interval.
- The square is small and at the border; a coarse map cannot outline it, so its AUC and pointing are limited by its resolution, not
  only by its formula. The rank of coarse against fine methods need not hold for large evidence.
- AUC counts single pixels. The sign of integrated gradients and DeepLift alternates from pixel to pixel, so their AUC stays near 50% where
  their hottest pixel does lie inside: see *pointing*. Averaged over patches, as the score takes them, they do better.
- CAM applies to four of the networks only, so its row is not a mean over the same ones as the others.
- On `mini_deit` most kinds of the layer fail, at the last place where its class gradient is not zero (before the last attention); maps
  of the pixels, and Score-CAM, find the evidence there.
- A correlation of 0.6 to 0.9 means that the score avoids the methods that fail, not that it finds the very best of close ones.
- Mini networks at 64 px. The page shows which methods can fail, and where; for a network of your own measure
  [`faithfulness`](analyses/faithfulness.md).
"""
