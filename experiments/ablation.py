"""The ablation table: layers taken out and widths changed in a small network of Zeiler & Fergus' kind, each trained from scratch.

    python -m experiments.ablation --out DIR             train, judge, write DIR/ablation.json
    python -m experiments.ablation --section DIR/ablation.json    print the section of docs/experiments.md about it

Source: Zeiler & Fergus 2014, arXiv:1311.2901, sec. 5.1 and table 3. The small network, its images, the equal budget, seeds and
intervals are ours.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from experiments.runs import (
    Reporter,
    accuracy_loss,
    accuracy_text,
    add_budget_options,
    loss_text,
    print_now,
    recipe_within_budget,
    train_network,
    write_result,
)
from microtome.errors import MicrotomeError, UnknownName, did_you_mean
from microtome.numerics.graph.counts import count_parameters
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.judging import TEST_COUNT, multiply_adds, predict_classes
from microtome.training.zoo.loop import fresh_network
from microtome.training.zoo.recipes import ZooRecipe

HIDDEN_UNITS = 256  # units of fc6 and fc7: 4096 in the paper
# The rate was chosen for the row of all layers, of 5e-4 and 2e-3, over 8 epochs of a seed that the table does not use.
NETWORK = ZooRecipe(
    network="alexnet_zf",
    epochs=20,
    count=4000,
    lr=2e-3,
    halved=0.0,  # fully connected layers want images of one size
    options={"num_classes": 10, "size": 64, "norm": "batch", "width": 0.25, "hidden": HIDDEN_UNITS},
)
WIDER_LAYERS = (96, 256, 512, 1024, 512)  # the paper's wider layers 3, 4, 5


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row of the table: what is taken out of the network, and which of its options are others."""

    title: str
    without: tuple[str, ...] = ()
    changed: tuple[tuple[str, Any], ...] = ()

    def recipe(self, network: ZooRecipe, seed: int) -> ZooRecipe:
        """The network's recipe for this row and seed."""
        return replace(network, seed=seed, without=self.without, options={**network.options, **dict(self.changed)})


PAPER_ERRORS = {  # per cent wrong, validation, top-1
    "all layers": 40.5,
    "without layers 3, 4": 45.4,
    "without layer 7": 40.0,
    "without layers 6, 7": 44.8,
    "without layers 3, 4, 6, 7": 71.3,
}
MIDDLE_LAYERS, FULL_LAYERS = ("features.conv3", "features.conv4"), ("classifier.fc6", "classifier.fc7")
VARIANTS = (
    Variant(title="all layers"),
    Variant(title="without layers 3, 4", without=MIDDLE_LAYERS),
    Variant(title="without layer 7", without=FULL_LAYERS[1:]),
    Variant(title="without layers 6, 7", without=FULL_LAYERS),
    Variant(title="without layers 3, 4, 6, 7", without=MIDDLE_LAYERS + FULL_LAYERS),
    Variant(title="layers 6, 7 half as wide", changed=(("hidden", HIDDEN_UNITS // 2),)),
    Variant(title="layers 6, 7 twice as wide", changed=(("hidden", 2 * HIDDEN_UNITS),)),
    Variant(title="layers 3, 4, 5 wider", changed=(("widths", WIDER_LAYERS),)),
    Variant(title="layers 3, 4, 5 wider, 6, 7 twice", changed=(("widths", WIDER_LAYERS), ("hidden", 2 * HIDDEN_UNITS))),
)


def run_ablation(
    network: ZooRecipe,
    out: Path,
    seeds: int,
    *,
    variants: Sequence[Variant] = VARIANTS,
    learn: SceneSeries | None = None,
    judge: SceneSeries | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """What each variant of `network` can do after the same training, as plain JSON values; the first is what the others are held to.

    `learn` and `judge` replace the scenes that networks learn from and are judged on. A killed run goes on where it was.

    Raises: UnknownName, BadOption, Uneditable, CheckpointError, MissingExtra.
    """
    for variant in variants:  # what cannot be made is refused before anything is trained
        fresh_network(variant.recipe(network, 0))
    learn = scene_series(network.count, TRAINING_SEED, cache=cache) if learn is None else learn
    judge = scene_series(TEST_COUNT, TEST_SEED, cache=cache) if judge is None else judge
    first: NDArray[np.bool_] | None = None
    rows: list[dict[str, Any]] = []
    for variant in variants:
        runs: list[NDArray[np.bool_]] = []
        learnt: list[int] = []
        for seed in range(seeds):
            plan = variant.recipe(network, seed)
            net = train_network(plan, out / variant.title.replace(" ", "-") / f"seed-{seed}", learn)
            runs.append(predict_classes(net, judge) == judge.labels)
            learnt.append(int((predict_classes(net, learn) == learn.labels).sum()))
            if reporter is not None:
                reporter(f"{variant.title}, seed {seed}: {runs[-1].mean():.1%}, of the learnt {learnt[-1] / len(learn):.1%}")
        right = np.stack(runs)
        first = right if first is None else first
        net = fresh_network(variant.recipe(network, 0))
        rows.append(
            {
                "title": variant.title,
                "without": list(variant.without),
                "changed": {name: list(value) if isinstance(value, tuple) else value for name, value in variant.changed},
                "parameters": count_parameters(net),
                "macs": multiply_adds(net),
                "right": [int(run.sum()) for run in runs],
                "learnt": learnt,
                "lost": accuracy_loss(first, right),
            }
        )
    facts = {"network": network.network, "options": network.json()["options"], "epochs": network.epochs}
    return facts | {"count": len(learn), "judged": len(judge), "seeds": seeds, "rows": rows}


def result_table(result: dict[str, Any]) -> str:
    """The rows as a Markdown table: per cent right on scenes learnt from and on others, by seed, and what was lost."""
    head = ["", "parameters", "multiply-adds (million)", "right, learnt scenes", "right, other scenes", "lost (points)"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---|---|---|"]
    for place, row in enumerate(result["rows"]):
        learnt = ", ".join(f"{100 * right / result['count']:.1f}" for right in row["learnt"])
        shares = ", ".join(accuracy_text(right, result["judged"]) for right in row["right"])
        less = loss_text(row["lost"]) if place else "–"
        cells = [row["title"], f"{row['parameters']:,}", f"{row['macs'] / 1e6:.1f}", learnt, shares, less]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def docs_section(results: dict[str, Any]) -> str:
    """The section of the documentation's page of experiments that tells of an ablation.json."""
    result = results["ablation"]
    options = ", ".join(f"{name} {value}" for name, value in result["options"].items() if name != "num_classes")
    seeds = "seed 0 alone" if result["seeds"] == 1 else f"seeds 0 to {result['seeds'] - 1} side by side"
    budget = f"--epochs {result['epochs']} --count {result['count']} --seeds {result['seeds']}"
    return "\n\n".join(
        [
            "## The ablation table of Zeiler & Fergus, in small",
            _HEAD.format(name=result["network"], options=options),
            f"Given {result['epochs']} epochs over {result['count']:,} scenes, judged on {result['judged']:,} others, {seeds}; measured on "
            f"{results['date']} with torch {results['torch']}, one thread. "
            "In brackets: 95% Wilson intervals over the scenes; *lost* is against "
            "all layers, the mean over seeds, with a bootstrap interval over scenes.",
            result_table(result),
            f"```sh\npython -m experiments.ablation {budget} --out runs/ablation\n```",
            _TAIL.format(rank=_against_the_paper(result)),
        ]
    )


def _against_the_paper(result: dict[str, Any]) -> str:
    """What came of the paper's order of rows, in words."""
    rows = {row["title"]: sum(row["right"]) for row in result["rows"]}
    shared = [title for title in PAPER_ERRORS if title in rows]
    if len(shared) < 3:
        return "too few rows are here to compare orders"
    theirs, ours = ([-PAPER_ERRORS[title] for title in shared], [rows[title] for title in shared])
    order = float(np.corrcoef(rankdata(theirs), rankdata(ours))[0, 1])
    return f"over the {len(shared)} rows that both have, the order of accuracies has a rank correlation of {order:+.2f} with theirs"


_HEAD = """Table 3 of the paper takes layers out of Krizhevsky's network and makes others wider, and trains each anew. Here the same is
done to `{name}` ({options}): five convolutions and three fully connected
layers on scenes of 64 px. Where the layer that goes had another width, the next one takes what it now gets."""

_TAIL = """The paper's numbers (ImageNet validation, top-1 error): all layers 40.5%, without 3 and 4 45.4%, without 7 40.0%, without 6
and 7 44.8%, without all four 71.3%; Zeiler & Fergus' own network 38.4%, with 512, 1024 and 512 maps in layers 3 to 5 37.5%.
Images, sizes and budgets here are others, so only orders can be compared: {rank}.
Read the learnt scenes too: a row that knows little of what it learnt from was not trained long enough, rather than too small or too
large. Here rows without fully connected layers know more of the learnt scenes as well: in so short a training these layers, each
behind dropout, seem to cost more than they are worth."""


def main(arguments: list[str] | None = None) -> int:
    """0 when all networks are trained and judged, or the section is written; 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for the trained networks and ablation.json")
    parser.add_argument(
        "--section", type=Path, metavar="JSON", help="print the section about that ablation.json, and train nothing"
    )
    parser.add_argument("--rows", help="numbers of the rows, from 0, comma-separated; all by default")
    add_budget_options(parser, NETWORK)
    given = parser.parse_args(arguments)
    try:
        if given.section is not None:
            print(docs_section(json.loads(given.section.read_text(encoding="utf-8"))))
            return 0
        network = recipe_within_budget(given, NETWORK, "runs/ablation")
        chosen = _select_variants(given.rows)
        result = run_ablation(network, given.out, given.seeds, variants=chosen, cache=given.cache, reporter=print_now)
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    write_result(given.out / "ablation.json", ablation=result)
    print(result_table(result))
    return 0


def _select_variants(text: str | None) -> list[Variant]:
    if text is None:
        return list(VARIANTS)
    names = [str(place) for place in range(len(VARIANTS))]
    for word in text.split(","):
        if word not in names:
            raise UnknownName(f"There is no row '{word}'; rows are 0 to {len(VARIANTS) - 1}.{did_you_mean(word, names)}")
    return [VARIANTS[place] for place in sorted({0, *map(int, text.split(","))})]


if __name__ == "__main__":
    sys.exit(main())
