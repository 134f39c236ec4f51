"""How far atrous branches should reach: networks trained from scratch with rates r_max · (1/3, 2/3, 1), over r_max as a share of M.

    python -m microtome.training.rates --out DIR                  train, judge, write DIR/rates.json
    python -m microtome.training.rates --page DIR/rates.json --figures FOLDER > docs/experiments_rates.md

M is the feature side: picture side / output stride. Three tasks: `scenes` with masks, on the network that ships; `cues`, where what
decides lies half a picture away, on a backbone that sees less than that and without the branch that sees the mean of the image;
`cues_seen`, the same on a backbone that sees far enough by itself.

Source: r_max = floor((M - 1) / 2), the rule that this puts to the test, is ours. That rates should follow the size of the picture:
Kim et al. 2023, arXiv:2307.14179, of which we know the abstract, not the rule.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from microtome.errors import BadOption, MicrotomeError, did_you_mean
from microtome.finding import Finding, array
from microtome.numerics.intervals import Interval, student
from microtome.numerics.segmentation import confusions, mean_overlap
from microtome.panels import Curve
from microtome.training.cues import COLOURS, distant_cues
from microtome.training.data import JUDGE, LEARN, Series, series
from microtome.training.judging import answers
from microtome.training.loop import fresh, train
from microtome.training.recipes import Recipe

SHARES = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 7 / 16, 1 / 2, 3 / 4, 1.0)  # 7/16 is the rule's own at M = 16
JUDGED = 1000
Told = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What networks learn in the sweep, from how much, and all of their form but the rates."""

    draw: Callable[[int, int, Path | None], Series]  # count, seed, cache
    classes: int  # with background
    side: int  # of the feature map
    epochs: int
    count: int
    shares: tuple[float, ...] = SHARES
    seeds: int = 3
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def recipe(self, branches: Sequence[int], seed: int) -> Recipe:
        """The network with branches of these rates, within the budget that all share."""
        options = {"num_classes": self.classes, "rates": tuple(branches), **self.options}
        budget: dict[str, Any] = {"epochs": self.epochs, "count": self.count, "seed": seed}
        return Recipe(network="mini_deeplab", lr=1e-2, halved=0.0, smoothing=0.0, options=options, **budget)


def _scenes(count: int, seed: int, cache: Path | None) -> Series:
    return series(count, seed, masks=True, cache=cache)


def _cues(count: int, seed: int, _: Path | None) -> Series:
    return distant_cues(count, seed)


_SMALL: dict[str, Any] = {"units": (16,), "width": 16, "output_stride": 2, "pooling": False}
_CUES: dict[str, Any] = {"draw": _cues, "classes": 1 + len(COLOURS), "side": 16, "epochs": 6, "count": 3000}
TASKS = {
    "scenes": Task(draw=_scenes, classes=11, side=16, epochs=6, count=2500, shares=(1 / 16, 7 / 16, 1.0)),
    "cues": Task(**_CUES, options=_SMALL),
    "cues_seen": Task(**_CUES, options=_SMALL | {"units": (16, 24)}, shares=(1 / 16, 1 / 4, 1 / 2), seeds=2),
}


def rates(share: float, side: int) -> tuple[int, ...]:
    """r_max · (1/3, 2/3, 1) in whole places of at least 1, r_max being that share of the feature side."""
    most = max(1, round(share * side))
    return tuple(max(1, round(most * part / 3)) for part in (1, 2, 3))


def sweep(
    name: str,
    out: Path,
    *,
    task: Task | None = None,
    judged: int = JUDGED,
    cache: Path | None = None,
    told: Told | None = None,
) -> dict[str, Any]:
    """Mean overlap, and the share of the objects' pixels named rightly, for every share and seed, as plain JSON values.

    `name` is one of `TASKS`, unless `task` says another. A killed run goes on where it was.

    Raises: BadOption for a task that does not exist, CheckpointError, MissingExtra.
    """
    if task is None and name not in TASKS:
        raise BadOption(f"There is no task '{name}' for the sweep.{did_you_mean(name, TASKS)}")
    task = TASKS[name] if task is None else task
    learn, judge = task.draw(task.count, LEARN, cache), task.draw(judged, JUDGE, cache)
    assert judge.targets is not None
    wanted = judge.targets.astype(np.int64)
    rows: list[dict[str, Any]] = []
    for share in task.shares:
        branches = rates(share, task.side)
        row: dict[str, Any] = {"share": share, "rates": list(branches), "mean_iou": [], "objects": []}
        for seed in range(task.seeds):
            plan = task.recipe(branches, seed)
            net = fresh(plan)
            net.load_state_dict(load_file(train(plan, out / name / f"rate-{branches[-1]}" / f"seed-{seed}", data=learn)))
            counts = confusions(wanted, answers(net, judge), task.classes).sum(0)
            row["mean_iou"].append(float(mean_overlap(counts)))
            row["objects"].append(float(np.trace(counts[1:, 1:]) / counts[1:].sum()))
            if told is not None:
                told(
                    f"{name}, rates {branches}, seed {seed}: mean IoU {row['mean_iou'][-1]:.3f}, objects {row['objects'][-1]:.3f}"
                )
        rows.append(row)
    budget = {"epochs": task.epochs, "count": task.count, "judged": judged, "seeds": task.seeds}
    return {"task": name, "side": task.side, **budget, "rows": rows}


def table(found: dict[str, Any]) -> str:
    """The rows as a Markdown table: mean over seeds with its interval, and each seed."""
    lines = [
        "| r_max / M | rates | dead branches | mean IoU (95 % over seeds) | each seed | objects' pixels right |",
        "|---:|---|---:|---|---|---|",
    ]
    for row in found["rows"]:
        mean, objects = (_points(student(row[name])) for name in ("mean_iou", "objects"))
        each = ", ".join(f"{100 * one:.1f}" for one in row["mean_iou"])
        dead = sum(rate >= found["side"] for rate in row["rates"])
        lines.append(
            f"| {Fraction(row['share'])} | {', '.join(map(str, row['rates']))} | {dead or '–'} | {mean} | {each} | {objects} |"
        )
    return "\n".join(lines)


def _points(one: Interval) -> str:
    """Per cent with its interval, which a few seeds can push beyond what a share can be."""
    span = f" ({max(0.0, 100 * one.low):.1f}–{min(100.0, 100 * one.high):.1f})" if np.isfinite(one.low) else ""
    return f"{100 * one.value:.1f}{span}"


def finding(said: dict[str, Any]) -> Finding:
    """The sweeps as a finding with one curve each, to be drawn."""
    arrays: dict[str, Any] = {}
    panels: list[Curve] = []
    for one in said["sweeps"]:
        at = {"amount": [str(Fraction(row["share"])) for row in one["rows"]]}
        found = np.array([student(row["mean_iou"]) for row in one["rows"]]).clip(0, 1)
        names = tuple(f"{one['task']}{part}" for part in ("", "_low", "_high"))
        arrays |= {name: array(found[:, part], ("amount",), "share", at, "mean IoU") for part, name in enumerate(names)}
        note = "Mean over seeds and its 95 % interval."
        panels.append(
            Curve(
                title=f"{one['task']}: mean IoU by r_max / M", y=names[:1], x="amount", low=names[1], high=names[2], note=note
            )
        )
    return Finding(analysis="rates", arrays=arrays, panels=tuple(panels), title="Atrous rates")


def main(arguments: list[str] | None = None) -> int:
    """0 when all networks are trained and judged, or the page is written; 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m microtome.training.rates", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tasks", nargs="*", help=f"{', '.join(TASKS)}; all by default")
    parser.add_argument("--out", type=Path, help="folder for the trained networks and rates.json")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--seeds", type=int, help="first weights of each network, instead of the task's own number")
    parser.add_argument("--page", type=Path, metavar="JSON", help="print the page about that rates.json, and train nothing")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="with --page: draw the curves into that folder")
    given = parser.parse_args(arguments)
    try:
        if given.page is not None:
            said = json.loads(given.page.read_text(encoding="utf-8"))
            if given.figures is not None:
                draw(said, given.figures)
            print(page(said), end="")
            return 0
        if given.out is None or (given.seeds is not None and given.seeds < 1):
            raise BadOption("Name --out DIR, and at least one seed: python -m microtome.training.rates --out runs/rates.")
        torch.set_num_threads(1)  # more would change the last bits of what is learnt
        found: list[dict[str, Any]] = []
        for name in given.tasks or list(TASKS):
            task = TASKS.get(name) if given.seeds is None or name not in TASKS else replace(TASKS[name], seeds=given.seeds)
            found.append(sweep(name, given.out, task=task, judged=JUDGED, cache=given.cache, told=_said))
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    kept = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__, "sweeps": found}
    (given.out / "rates.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print("\n\n".join(table(one) for one in found))
    return 0


def draw(said: dict[str, Any], folder: Path) -> None:
    """Write rates_TASK.png of every sweep into `folder`."""
    found = finding(said)
    for number, one in enumerate(said["sweeps"]):
        found.figure(number).savefig(folder / f"rates_{one['task']}.png", dpi=110, metadata={"Software": None})


def page(said: dict[str, Any]) -> str:
    """The page of the documentation that tells of a rates.json."""
    parts = [
        _HEAD,
        f"Measured on {said['date']} with torch {said['torch']}, one thread; judged on {said['sweeps'][0]['judged']:,} pictures of another "
        f"seed ({JUDGE}) than those learnt from ({LEARN}). Per cent; in brackets the 95 % interval of Student over the seeds, which are "
        "first weights, order and augmentation.",
        "```sh\npython -m microtome.training.rates --out runs/rates\n```",
    ]
    for one in said["sweeps"]:
        parts += [
            f"## {_TITLES[one['task']]}",
            _TOLD[one["task"]],
            f"{one['epochs']} epochs over {one['count']:,} pictures, {one['seeds']} seeds, M = {one['side']}.",
            f"![Mean IoU over the reach of the widest branch](figures/rates_{one['task']}.png)",
            table(one),
        ]
    return "\n\n".join([*parts, _TAIL]) + "\n"


_HEAD = """# Experiments: how far atrous branches should reach

An atrous pyramid looks at a map of M x M places through 3 x 3 kernels with holes. Our rule sets the widest rate to
r_max = floor((M - 1) / 2), so that it reaches the border from the middle, and the others to a third and two thirds of it. That rule is
derived, not measured; the hypothesis is that what networks can learn peaks near r_max / M = 1/2. Here networks with rates
r_max · (1/3, 2/3, 1) are trained **from scratch** with the same budget, for r_max / M from 1/16 to 1. At 1 the widest branch reads
nothing but its middle tap: it is a 1 x 1 convolution, counted as dead.

*This page is written from [rates.json](rates.json) by `python -m microtome.training.rates --page`; a test compares.*"""

_TITLES = {
    "scenes": "scenes: objects and their masks",
    "cues": "cues: what decides lies half a picture away",
    "cues_seen": "cues_seen: the same, when the backbone sees that far itself",
}
_TOLD = {
    "scenes": "The network that ships, `microtome:mini_deeplab`, on generated scenes. Its backbone sees 119 px at a picture side of 64, "
    "and one branch of its pyramid sees the mean of the whole image.",
    "cues": "White squares in noise are to be given the colour of the square 16 px, 8 places, above or below them in a picture of 32 px "
    "([cues.py](../src/microtome/training/cues.py)). The backbone sees 15 px, so less than that; the branch that sees the mean of the "
    "image is left out. A guess among four colours is right on 25 % of the squares' pixels.",
    "cues_seen": "The same pictures and the same pyramid behind a backbone with one dilated block more, which sees 39 px.",
}

_TAIL = """## What this says, and what not

- Where what decides lies half a picture away and nothing else sees that far, the hypothesis holds within what was tried: no network with
  r_max / M up to 1/4 finds it (they guess), all with 7/16, 1/2 and 3/4 do, and at 1 it is lost again. At 3/8 it depends on the seed.
- But what counts is that **some** branch lands near the distance, not that the widest does: at 3/4 it is the middle one (8 places) that
  does. A branch also reads what its backbone sees around each tap, here 7 px to each side, so 7 places do as well as 8, and 6
  sometimes. At 1 the branches land 5 and 11 places away, on either side of it.
- The task has one distance, half a side, which is the one that the rule reaches: it shows that reach can decide, not that half a
  side is the reach that pictures ask for.
- The budget is small, and so are the networks: what is not learnt here might be with more. With few seeds the intervals are wide
  where the seeds disagree."""


def _said(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
