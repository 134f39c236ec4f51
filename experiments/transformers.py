"""A vision transformer against its edited self: trained from scratch with the same budget, judged over contrast.

    python -m experiments.transformers --out DIR                              train, judge, write DIR/transformers.json
    python -m experiments.transformers --page DIR/transformers.json > docs/experiments_transformers.md

Source: Kim et al. 2021, arXiv:2111.08413 (a layer norm before the positions against strong contrast) and Kim et al. 2023,
arXiv:2305.04722 (Gaussian attention bias); network, scenes, budget and both ways of raising contrast are ours.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from experiments.runs import Reporter, accuracy_text, print_now, train_network, write_result
from microtome import networks
from microtome.errors import BadOption, MicrotomeError
from microtome.images.scenes import Controls, scene
from microtome.numerics.graph.counts import count_parameters
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED, SceneSeries
from microtome.training.zoo.loop import fresh_network, normalise
from microtome.training.zoo.recipes import ZooRecipe, zoo_recipe

Edits = tuple[str, ...]
ContrastMode = Literal["free", "clipped"]
CONTRAST_MODES: tuple[ContrastMode, ...] = ("free", "clipped")
VARIANTS: tuple[Edits, ...] = ((), ("prelayernorm",), ("prelayernorm:reading=pixels",), ("gaussian_attention_bias",))
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
EASY_CONTROLS = Controls(area=(0.15, 0.4), clutter=(0.0, 0.3))  # so little training teaches nothing on the usual scenes


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every network is given: epochs over so many easy scenes, from each seed's own first weights; `judged` other scenes."""

    epochs: int = 8
    count: int = 3000
    judged: int = 1000
    seeds: int = 3

    def recipe(self, edits: Edits, seed: int) -> ZooRecipe:
        """The transformer's recipe without its teacher, within this budget."""
        plain = replace(
            zoo_recipe("mini_deit"), teacher=None, batch=32, warmup=0.05, precision="32-true", decorrelated=True
        )
        return replace(plain, epochs=self.epochs, count=self.count, seed=seed, edits=edits)


def easy_scenes(count: int, seed: int) -> SceneSeries:
    """The first `count` easy scenes of a seed: large objects, little clutter."""
    drawn = [scene(index, seed=seed, controls=EASY_CONTROLS) for index in range(count)]
    labels = np.array([scene.label for scene in drawn], dtype=np.int64)
    return SceneSeries(np.stack([scene.pixels for scene in drawn]), labels, np.array([scene.facts["area"] for scene in drawn]))


def change_contrast(x: Tensor, factor: float, way: ContrastMode) -> Tensor:
    """Normalised images (image, rgb, row, col) with `factor` times the contrast about the mean colour.

    "free": as numbers go; "clipped": as an image of 0 to 255 can show it.
    """
    if way == "free":
        return factor * x
    mean, std = (torch.tensor(statistic)[:, None, None] for statistic in (networks.MEAN, networks.STD))
    return torch.minimum(torch.maximum(factor * x, -mean / std), (1 - mean) / std)


def count_correct(net: nn.Module, data: SceneSeries, factor: float, way: ContrastMode, batch: int = 250) -> int:
    """How many of the scenes `net` (put into eval mode) names at that contrast."""
    net.eval()
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(data), batch):
            x = change_contrast(normalise(torch.from_numpy(data.pixels[start : start + batch])), factor, way)
            hits += int((net(x).argmax(1) == torch.from_numpy(data.labels[start : start + batch])).sum())
    return hits


def run_experiment(
    out: Path,
    budget: Budget,
    *,
    variants: Sequence[Edits] = VARIANTS,
    learn: SceneSeries | None = None,
    judge: SceneSeries | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """What the plain transformer and its edited selves can do after the same training, as plain JSON values.

    `learn` and `judge` replace the scenes. A killed run goes on where it was.

    Raises: UnknownName, BadOption, Uneditable, CheckpointError, MissingExtra.
    """
    learn = easy_scenes(budget.count, TRAINING_SEED) if learn is None else learn
    judge = easy_scenes(budget.judged, TEST_SEED) if judge is None else judge
    rows: list[dict[str, Any]] = []
    for edits in variants:
        scores: dict[str, list[list[int]]] = {way: [] for way in CONTRAST_MODES}
        for seed in range(budget.seeds):
            plan = budget.recipe(edits, seed)
            net = train_network(plan, out / ("+".join(edits) or "plain") / f"seed-{seed}", learn)
            for way in CONTRAST_MODES:
                scores[way].append([count_correct(net, judge, factor, way) for factor in FACTORS])
            if reporter is not None:
                reporter(
                    f"{' + '.join(edits) or 'plain'}, seed {seed}: {scores['free'][-1]} of {len(judge)} right at {FACTORS}"
                )
        size = count_parameters(fresh_network(budget.recipe(edits, 0)))
        rows.append({"edits": list(edits), "parameters": size, "right": scores})
    return {
        "epochs": budget.epochs,
        "count": len(learn),
        "judged": len(judge),
        "seeds": budget.seeds,
        "factors": list(FACTORS),
        "rows": rows,
    }


def result_table(result: dict[str, Any], way: ContrastMode) -> str:
    """Per cent right by contrast as a Markdown table: the mean over seeds, the lowest and highest seed behind it."""
    lines = ["| network | " + " | ".join(f"x {factor:g}" for factor in result["factors"]) + " |"]
    lines.append("|---|" + "---|" * len(result["factors"]))
    for row in result["rows"]:
        shares = 100 * np.array(row["right"][way], dtype=float) / result["judged"]  # (seed, factor)
        cells = [f"{column.mean():.1f} ({column.min():.1f}–{column.max():.1f})" for column in shares.T]
        lines.append(f"| {_row_name(row)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def seeds_table(result: dict[str, Any]) -> str:
    """Per cent right at the contrast of training, seed by seed with its 95% Wilson interval."""
    lines = ["| network | parameters | " + " | ".join(f"seed {seed}" for seed in range(result["seeds"])) + " | mean |"]
    lines.append("|---|---:|" + "---|" * result["seeds"] + "---|")
    place = result["factors"].index(1.0)
    for row in result["rows"]:
        counts = [right[place] for right in row["right"]["free"]]
        cells = [accuracy_text(count, result["judged"]) for count in counts]
        mean = 100 * sum(counts) / result["seeds"] / result["judged"]
        lines.append(f"| {_row_name(row)} | {row['parameters']:,} | {' | '.join(cells)} | {mean:.1f} |")
    return "\n".join(lines)


def docs_page(results: dict[str, Any]) -> str:
    """The page of the documentation that tells of a transformers.json."""
    result = results["transformers"]
    given = (
        f"Measured on {results['date']} with torch {results['torch']}, one thread: `mini_deit` without its teacher, "
        f"{result['epochs']} epochs "
        f"over {result['count']:,} easy scenes (large objects, little clutter; seed {TRAINING_SEED}), {result['seeds']} seeds, judged on "
        f"{result['judged']:,} others (seed {TEST_SEED})."
    )
    call = f"--epochs {result['epochs']} --count {result['count']} --judged {result['judged']} --seeds {result['seeds']}"
    return "\n\n".join(
        [
            _HEAD,
            given,
            "## At the contrast of training",
            "Per cent right, in brackets the 95% Wilson interval over the judged scenes.",
            seeds_table(result),
            "## Contrast as numbers",
            "Normalised images multiplied by the factor, beyond 0 to 255 where they go there. Mean over the seeds (lowest–highest).",
            result_table(result, "free"),
            "## Contrast as images",
            "The same, clipped to 0 to 255, as a camera or a file would.",
            result_table(result, "clipped"),
            f"```sh\npython -m experiments.transformers {call} --out runs/transformers\n```",
            _TAIL,
        ]
    ) + "\n"  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """0 when all networks are trained and judged, or the page is written; 2 when the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m experiments.transformers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for the trained networks and transformers.json")
    parser.add_argument(
        "--page", type=Path, metavar="JSON", help="print the page about that transformers.json, and train nothing"
    )
    for name, default in vars(Budget()).items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    given = parser.parse_args(arguments)
    try:
        if given.page is not None:
            print(docs_page(json.loads(given.page.read_text(encoding="utf-8"))), end="")
            return 0
        budget = Budget(epochs=given.epochs, count=given.count, judged=given.judged, seeds=given.seeds)
        if given.out is None or min(vars(budget).values()) < 1:
            raise BadOption("Name --out DIR, and at least one epoch, scene and seed: --out runs/transformers.")
        torch.set_num_threads(1)  # more would change the last bits of what is learnt
        result = run_experiment(given.out, budget, reporter=print_now)
    except MicrotomeError as error:
        print(error, file=sys.stderr)
        return 2
    write_result(given.out / "transformers.json", transformers=result)
    print("\n\n".join([seeds_table(result), *(result_table(result, way) for way in CONTRAST_MODES)]))
    return 0


def _row_name(row: dict[str, Any]) -> str:
    return " + ".join(f"`{edit}`" for edit in row["edits"]) or "plain"


_HEAD = """# Experiments: a transformer and two edits

A transformer adds learned position embeddings to patch embeddings whose norm grows with the contrast of the image. Does a layer norm in
the patch embedding
([prelayernorm](edits/prelayernorm.md)) make it robust, and what does it cost? And does a Gaussian attention bias
([gaussian_attention_bias](edits/gaussian_attention_bias.md)) help when there is little training data? Each edited network and the plain one
are trained **from scratch** with the same first weights, scenes, order and budget, at ordinary contrast only.

*This page is written from [experiments_transformers.json](experiments_transformers.json) by `python -m experiments.transformers
--page`; a test compares.*"""

_TAIL = """## Interpretation and limits

- **The invariance is exact.** With a layer norm on the tokens or on the pixels, accuracy in the second table is the same at every contrast
  (except for the norm's epsilon at a quarter of the contrast): this is an identity and is not learned. The plain network and the one with
  the Gaussian bias keep less than half of their accuracy at four times the contrast, and less than a quarter at a quarter of it.
- **Clipping loses information,** which no norm can restore: on clipped images all networks lose accuracy, and at eight times the contrast
  they differ little.
- **Two seeds are too few to measure the cost of the norm at ordinary contrast.** Networks with a norm range from far below the plain one to
  far above it, as the tables show; the schedule is so short that some seeds have hardly begun to learn. The norm on tokens also removes
  the projection's bias, which these initial weights use to subtract the mean patch.
- **They are also too few to show whether the Gaussian bias helps.** The seeds of the plain network differ more than the two means do.
  Published gains (0.03 to 3 points, for networks at least 80 times as large) are smaller than this experiment could detect.
- One small network, easy generated scenes and a short training: the results show directions of effects, not their sizes."""


if __name__ == "__main__":
    sys.exit(main())
