"""What every experiment does alike: a network as its training left it, results kept with their date, accuracies told with intervals."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from microtome.errors import BadOption
from microtome.numerics.statistics.intervals import mean_interval, wilson_interval
from microtome.training.zoo.data import SceneSeries
from microtome.training.zoo.loop import fresh_network, train_zoo_network
from microtome.training.zoo.recipes import ZooRecipe

Reporter = Callable[[str], None]


def add_budget_options(parser: argparse.ArgumentParser, plan: ZooRecipe) -> None:
    """The options of every experiment that trains variants of one network; `plan` says what is trained by default."""
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--epochs", type=int, default=plan.epochs, help=f"default {plan.epochs}")
    parser.add_argument("--count", type=int, default=plan.count, help=f"scenes to learn from; default {plan.count}")
    parser.add_argument("--seeds", type=int, default=2, help="default 2")


def recipe_within_budget(given: argparse.Namespace, plan: ZooRecipe, example: str) -> ZooRecipe:
    """The plan within the budget asked for, on one thread from here on; `example` is a folder to name.

    Raises: BadOption where no folder, or nothing to train, is asked for.
    """
    if given.out is None or min(given.epochs, given.count, given.seeds) < 1:
        raise BadOption(f"Name --out DIR, and at least one epoch, scene and seed: --out {example}.")
    torch.set_num_threads(1)  # more would change the last bits of what is learnt
    return replace(plan, epochs=given.epochs, count=given.count)


def train_network(recipe: ZooRecipe, folder: Path, learn: SceneSeries) -> nn.Module:
    """The network of that recipe after its training on `learn`; a killed training goes on where it was.

    Raises: UnknownName, Uneditable, CheckpointError, MissingExtra.
    """
    net = fresh_network(recipe)
    net.load_state_dict(load_file(train_zoo_network(recipe, folder, data=learn)))
    return net


def accuracy_loss(whole: NDArray[Any], cut: NDArray[Any]) -> list[float | None]:
    """How much accuracy (seed, image) the cut network lost: the mean over seeds, and its 95% interval over the scenes, None if unknown."""
    return [
        None if np.isnan(bound) else float(bound)
        for bound in mean_interval((whole.astype(float) - cut.astype(float)).mean(axis=0))
    ]


def loss_text(interval: list[float | None]) -> str:
    """What was lost in points, with its interval."""
    known = [100 * bound for bound in interval if bound is not None]
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*known) if len(known) == 3 else f"{known[0]:+.1f} (interval unknown)"


def accuracy_text(right: int, judged: int) -> str:
    """Per cent right, with its 95% Wilson interval."""
    interval = wilson_interval(right, judged)
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def write_result(path: Path, **results: Any) -> None:
    """Write what was found as JSON, beside the date and torch's version."""
    content = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__, **results}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def print_now(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)
