"""How far atrous branches should reach: networks trained from scratch with rates r_max · (1/3, 2/3, 1), over r_max as a fraction of M.

    python -m experiments.rates --out DIR                  train, judge, write DIR/rates.json
    python -m experiments.rates --page DIR/rates.json --figures FOLDER > docs/experiments_rates.md

M is the feature side: image side / output stride. Three tasks: `scenes` with masks, on the network that ships; `cues`, where what
decides lies half an image away, on a backbone that sees less than that and without the branch that sees the mean of the image;
`cues_seen`, the same on a backbone that sees far enough by itself.

Source: r_max = floor((M - 1) / 2), the rule that this puts to the test, is ours. That rates should follow the size of the image:
Kim et al. 2023, arXiv:2307.14179, of which we know the abstract, not the rule.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.cues import COLOURS, draw_distant_cues
from experiments.rates_page import BRANCH_TEST_COUNT, docs_page, plot_sweeps, result_table
from experiments.runs import Reporter, print_now, train_network, write_result
from microtome.errors import BadOption, MicrotomeError, did_you_mean
from microtome.numerics.maps.segmentation import confusion_matrices, mean_iou
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.judging import predict_classes
from microtome.training.zoo.recipes import ZooRecipe

RATE_FRACTIONS = (1 / 16, 1 / 8, 1 / 4, 3 / 8, 7 / 16, 1 / 2, 3 / 4, 1.0)  # 7/16 is the rule's own at M = 16
TEST_COUNT = 1000


@dataclass(frozen=True, kw_only=True)
class Task:
    """What networks learn in the sweep, from how much, and all of their form but the rates."""

    draw: Callable[[int, int, Path | None], SceneSeries]  # count, seed, cache
    classes: int  # with background
    side: int  # of the feature map
    epochs: int
    count: int
    batch: int = 64
    lr: float = 1e-2
    shares: tuple[float, ...] = RATE_FRACTIONS
    seeds: int = 3
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def recipe(self, branches: Sequence[int], seed: int) -> ZooRecipe:
        """The network with branches of these rates, within the budget that all share."""
        options = {"num_classes": self.classes, "rates": tuple(branches), **self.options}
        budget: dict[str, Any] = {"epochs": self.epochs, "count": self.count, "batch": self.batch, "lr": self.lr, "seed": seed}
        return ZooRecipe(network="mini_deeplab", halved=0.0, smoothing=0.0, options=options, **budget)


def _scenes(count: int, seed: int, cache: Path | None) -> SceneSeries:
    return scene_series(count, seed, masks=True, cache=cache)


def _cues(count: int, seed: int, _: Path | None) -> SceneSeries:
    return draw_distant_cues(count, seed)


_SMALL: dict[str, Any] = {"units": (16,), "width": 16, "output_stride": 2, "pooling": False}
_CUES: dict[str, Any] = {"draw": _cues, "classes": 1 + len(COLOURS), "side": 16, "epochs": 6, "count": 3000}
TASKS = {
    "scenes": Task(draw=_scenes, classes=11, side=16, epochs=8, count=4000, batch=16, lr=5e-3),
    "cues": Task(**_CUES, options=_SMALL),
    "cues_seen": Task(**_CUES, options=_SMALL | {"units": (16, 24)}, shares=(1 / 16, 1 / 4, 1 / 2), seeds=2),
}


def atrous_rates(share: float, side: int) -> tuple[int, ...]:
    """r_max · (1/3, 2/3, 1) in whole places of at least 1, r_max being that fraction of the feature side."""
    most = max(1, round(share * side))
    return tuple(max(1, round(most * part / 3)) for part in (1, 2, 3))


def run_sweep(
    name: str,
    out: Path,
    *,
    task: Task | None = None,
    judged: int = TEST_COUNT,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Mean overlap, and the fraction of the objects' pixels named rightly, for every fraction and seed, as plain JSON values.

    `name` is one of `TASKS`, unless `task` says another. A killed run goes on where it was.

    Raises: BadOption for a task that does not exist, CheckpointError, MissingExtra.
    """
    if task is None and name not in TASKS:
        raise BadOption(f"There is no task '{name}' for the sweep.{did_you_mean(name, TASKS)}")
    task = TASKS[name] if task is None else task
    learn, judge = task.draw(task.count, TRAINING_SEED, cache), task.draw(judged, TEST_SEED, cache)
    assert judge.targets is not None
    wanted, first = judge.targets.astype(np.int64), judge.first(BRANCH_TEST_COUNT)
    rows: list[dict[str, Any]] = []
    for share in task.shares:
        branches = atrous_rates(share, task.side)
        row: dict[str, Any] = {"share": share, "rates": list(branches), "mean_iou": [], "objects": [], "without": []}
        for seed in range(task.seeds):
            plan = task.recipe(branches, seed)
            net = train_network(plan, out / name / f"rate-{branches[-1]}" / f"seed-{seed}", learn)
            counts = confusion_matrices(wanted, predict_classes(net, judge), task.classes).sum(0)
            row["mean_iou"].append(float(mean_iou(counts)))
            row["objects"].append(_object_accuracy(counts))
            row["without"].append(accuracy_without_branches(net, first, task.classes))
            if reporter is not None:
                reporter(
                    f"{name}, rates {branches}, seed {seed}: mean IoU {row['mean_iou'][-1]:.3f}, objects {row['objects'][-1]:.3f}"
                )
        rows.append(row)
    budget = {"epochs": task.epochs, "count": task.count, "batch": task.batch, "judged": judged, "seeds": task.seeds}
    return {"task": name, "side": task.side, **budget, "rows": rows}


def accuracy_without_branches(net: nn.Module, judge: SceneSeries, classes: int) -> list[float]:
    """The fraction of the objects' pixels named rightly without each atrous branch in turn: its kernel set to zero, and then restored."""
    assert judge.targets is not None
    accuracies: list[float] = []
    pyramid: Any = net.get_submodule("aspp")
    for branch in pyramid.branches[1:]:  # the first is 1 x 1
        weight: Tensor = branch.conv.weight
        kept = weight.detach().clone()
        with torch.no_grad():
            weight.zero_()
            accuracies.append(
                _object_accuracy(
                    confusion_matrices(judge.targets.astype(np.int64), predict_classes(net, judge), classes).sum(0)
                )
            )
            weight.copy_(kept)
    return accuracies


def _object_accuracy(counts: Any) -> float:
    """The fraction of the pixels that are no background whose class is right, of counts (class, class_)."""
    return float(np.trace(counts[1:, 1:]) / counts[1:].sum())


def main(arguments: list[str] | None = None) -> int:
    """0 when all networks are trained and judged, or the page is written; 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.rates", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tasks", nargs="*", help=f"{', '.join(TASKS)}; all by default")
    parser.add_argument("--out", type=Path, help="folder for the trained networks and rates.json")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--seeds", type=int, help="first weights of each network, instead of the task's own number")
    parser.add_argument("--page", type=Path, metavar="JSON", help="print the page about that rates.json, and train nothing")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="with --page: draw the curves into that folder")
    given = parser.parse_args(arguments)
    try:
        if given.page is not None:
            content = json.loads(given.page.read_text(encoding="utf-8"))
            if given.figures is not None:
                plot_sweeps(content, given.figures)
            print(docs_page(content), end="")
            return 0
        if given.out is None or (given.seeds is not None and given.seeds < 1):
            raise BadOption("Name --out DIR, and at least one seed: python -m experiments.rates --out runs/rates.")
        torch.set_num_threads(1)  # more would change the last bits of what is learnt
        results: list[dict[str, Any]] = []
        for name in given.tasks or list(TASKS):
            task = TASKS.get(name) if given.seeds is None or name not in TASKS else replace(TASKS[name], seeds=given.seeds)
            results.append(run_sweep(name, given.out, task=task, judged=TEST_COUNT, cache=given.cache, reporter=print_now))
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    write_result(given.out / "rates.json", sweeps=results)
    print("\n\n".join(result_table(result) for result in results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
