"""Baseline against edits: networks with blocks taken out, trained from scratch with the same budget, judged on the same scenes.

    python -m experiments.experiments mini_vgg mini_resnet --out DIR        train, judge, write DIR/removal.json
    python -m experiments.experiments --page DIR/removal.json > docs/experiments.md

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 5.1 and table 3: layers removed entirely, each model trained from scratch. Taking out
blocks that keep the shape alone, the equal budget, several seeds and intervals are ours.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.runs import Reporter, accuracy_loss, accuracy_text, loss_text, print_now, train_network, write_result
from microtome.errors import BadOption, MicrotomeError, Uneditable
from microtome.numerics.graph.counts import count_parameters
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.judging import TEST_COUNT, multiply_adds, predict_classes
from microtome.training.zoo.loop import fresh_network
from microtome.training.zoo.recipes import ZooRecipe, zoo_recipe
from microtome.training.zoo.removal import removable_blocks

Blocks = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every network of an experiment is given: epochs over so many scenes, from each seed's own first weights."""

    epochs: int = 3
    count: int = 4000
    seeds: int = 2

    def recipe(self, network: str, blocks: Blocks, seed: int) -> ZooRecipe:
        """The network's own recipe within this budget. Raises UnknownName, and BadOption for a network that learns from a teacher."""
        plan = zoo_recipe(network)
        if plan.teacher is not None:
            raise BadOption(
                f"{network} learns from the maps of {plan.teacher}, block by block, so blocks cannot be taken out of its training; "
                "take another network of the mini zoo."
            )
        return replace(plan, epochs=self.epochs, count=self.count, seed=seed, without=blocks)


def block_variants(network: str) -> list[Blocks]:
    """The whole network, each of its removable blocks gone alone, and all of them gone. Raises UnknownName, BadOption, Uneditable."""
    names = removable_blocks(fresh_network(Budget().recipe(network, (), 0)))
    if not names:
        raise Uneditable(f"{network} has no block whose output has the shape of its input, so none could be taken out.")
    alone: list[Blocks] = [(name,) for name in names]
    return [(), *alone, *([tuple(names)] if len(names) > 1 else [])]


def run_removal(
    network: str,
    out: Path,
    budget: Budget,
    *,
    chosen: Sequence[Blocks] | None = None,
    learn: SceneSeries | None = None,
    judge: SceneSeries | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """What each variant of `network` can do after the same training, as plain JSON values; the whole network comes first.

    `learn` and `judge` replace the scenes that networks learn from and are judged on. A killed run goes on where it was.

    Raises: UnknownName, BadOption, Uneditable, CheckpointError, MissingExtra.
    """
    wanted = list(dict.fromkeys([(), *(block_variants(network) if chosen is None else chosen)]))
    for blocks in wanted:  # what cannot be made is refused before anything is trained
        fresh_network(budget.recipe(network, blocks, 0))
    learn = scene_series(budget.count, TRAINING_SEED, cache=cache) if learn is None else learn
    judge = scene_series(TEST_COUNT, TEST_SEED, cache=cache) if judge is None else judge
    right: dict[Blocks, NDArray[np.bool_]] = {}
    rows: list[dict[str, Any]] = []
    for blocks in wanted:
        runs: list[NDArray[np.bool_]] = []
        for seed in range(budget.seeds):
            plan = budget.recipe(network, blocks, seed)
            folder = out / network / ("+".join(blocks) or "whole") / f"seed-{seed}"
            runs.append(predict_classes(train_network(plan, folder, learn), judge) == judge.labels)
            if reporter is not None:
                reporter(f"{network} without {', '.join(blocks) or 'nothing'}, seed {seed}: {runs[-1].mean():.1%}")
        right[blocks] = np.stack(runs)
        net = fresh_network(budget.recipe(network, blocks, 0))
        rows.append(
            {
                "without": list(blocks),
                "parameters": count_parameters(net),
                "macs": multiply_adds(net),
                "right": [int(run.sum()) for run in runs],
                "lost": accuracy_loss(right[()], right[blocks]),
            }
        )
    return {
        "network": network,
        "epochs": budget.epochs,
        "count": len(learn),
        "judged": len(judge),
        "seeds": budget.seeds,
        "rows": rows,
    }


def result_table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table: per cent right of each seed with its Wilson interval, and what was lost."""
    seeds = range(result["seeds"])
    head = ["taken out", "parameters", "multiply-adds (million)", *(f"right, seed {seed}" for seed in seeds), "lost (points)"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|" + "---|" * (result["seeds"] + 1)]
    for row in result["rows"]:
        shares = [accuracy_text(count, result["judged"]) for count in row["right"]]
        less = loss_text(row["lost"]) if row["without"] else "–"
        if row["without"] and result["seeds"] > 1:
            gone = [
                100 * (one - two) / result["judged"] for one, two in zip(result["rows"][0]["right"], row["right"], strict=True)
            ]
            less += f"; by seed {', '.join(f'{change:+.1f}' for change in gone)}"
        name = ", ".join(f"`{path}`" for path in row["without"]) or "nothing"
        cells = [name, f"{row['parameters']:,}", f"{row['macs'] / 1e6:.1f}", *shares, less]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """0 when all networks are trained and judged, or the page is written; 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.experiments", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("networks", nargs="*", help="mini_vgg, mini_resnet, … (microtome.networks.NAMES)")
    parser.add_argument("--out", type=Path, help="folder for the trained networks and removal.json")
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--without", action="append", metavar="BLOCK,…", help="blocks to take out together; may be repeated")
    parser.add_argument("--page", type=Path, metavar="JSON", help="print the page about that removal.json, and train nothing")
    for name, default in vars(Budget()).items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = parser.parse_args(arguments)
    try:
        if given.page is not None:
            print(docs_page(json.loads(given.page.read_text(encoding="utf-8"))), end="")
            return 0
        if not given.networks or given.out is None or min(given.epochs, given.count, given.seeds) < 1:
            raise BadOption("Name networks, --out DIR, and at least one epoch, scene and seed: mini_vgg --out runs/removal.")
        torch.set_num_threads(1)  # more would change the last bits of what is learnt
        budget = Budget(epochs=given.epochs, count=given.count, seeds=given.seeds)
        chosen = None if given.without is None else [tuple(words.split(",")) for words in given.without]
        results = [
            run_removal(network, given.out, budget, chosen=chosen, cache=given.cache, reporter=print_now)
            for network in given.networks
        ]
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    write_result(given.out / "removal.json", removal=results)
    print("\n\n".join(result_table(result) for result in results))
    return 0


def docs_page(results: dict[str, Any]) -> str:
    """The page of the documentation that tells of a removal.json."""
    parts = [
        _HEAD,
        f"Measured on {results['date']} with torch {results['torch']}, one thread, learning from scenes of seed "
        f"{TRAINING_SEED} and judged on others "
        f"(seed {TEST_SEED}). In brackets: 95% Wilson intervals. *Lost* is the mean over the seeds of what the whole network got right "
        "and the cut one did not, with a bootstrap interval over the scenes.",
    ]
    for result in results["removal"]:
        cuts = [",".join(row["without"]) for row in result["rows"] if row["without"]]
        words = [result["network"], f"--epochs {result['epochs']} --count {result['count']} --seeds {result['seeds']}"]
        words += [f"--without {cut}" for cut in cuts]
        parts += [
            f"## {result['network']}",
            f"Given {result['epochs']} epochs over {result['count']:,} scenes, judged on {result['judged']:,} others.",
            result_table(result),
            f"```sh\npython -m experiments.experiments {' '.join(words)} --out runs/removal\n```",
        ]
    return "\n\n".join([*parts, _TAIL]) + "\n"


_HEAD = """# Experiments: taking blocks out

What does a block do for what a network can learn? As in table 3 of Zeiler & Fergus (2014), whole layers are removed and what is left is
trained **from scratch**, here with the same budget for all. Blocks are those of `microtome layers`; where the next one then gets another
number of units, it is made anew for them.

*This page is written from [experiments.json](experiments.json) by `python -m experiments.experiments --page`; a test compares.*"""

_TAIL = """## Interpretation and limits

- The budget is small: these networks are far from what they reach with ten times the scenes. A shallower network may learn faster
  and still end lower; only a full training would tell.
- Intervals are over the judged scenes. A few seeds say little about other first weights: where the seeds of one row lie further
  apart than two rows do, the rows do not differ significantly, whatever the last column says.
- The rows here are blocks whose output has the shape of their input. Those that change the number of units can go too
  (`--without`), unless a shortcut goes around them or they change the sides of the maps: then all after them would see larger ones.
- Zeiler & Fergus saw 40.5% top-1 error with all layers (validation), 45.4% without layers 3 and 4, 44.8% without 6 and 7, 71.3%
  without all four: either pair costs 4 to 5 points, all four together 31. Their networks, images and budgets are others; the
  numbers here are not comparable with theirs, the question is."""


if __name__ == "__main__":
    sys.exit(main())
