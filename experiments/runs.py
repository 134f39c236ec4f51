"""What every experiment does alike: a network as its training left it, results kept with their date, accuracies told with intervals."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from microtome.errors import BadOption
from microtome.numerics.statistics.intervals import bootstrap, wilson
from microtome.training.data import Series
from microtome.training.loop import fresh, train
from microtome.training.recipes import Recipe

Told = Callable[[str], None]


def budgeted(parser: argparse.ArgumentParser, plan: Recipe) -> None:
    """The options of every experiment that trains variants of one network; `plan` says what is trained by default."""
    parser.add_argument("--cache", type=Path, help="folder that keeps the drawn scenes for the next run")
    parser.add_argument("--epochs", type=int, default=plan.epochs, help=f"default {plan.epochs}")
    parser.add_argument("--count", type=int, default=plan.count, help=f"scenes to learn from; default {plan.count}")
    parser.add_argument("--seeds", type=int, default=2, help="default 2")


def within(given: argparse.Namespace, plan: Recipe, example: str) -> Recipe:
    """The plan within the budget asked for, on one thread from here on; `example` is a folder to name.

    Raises: BadOption where no folder, or nothing to train, is asked for.
    """
    if given.out is None or min(given.epochs, given.count, given.seeds) < 1:
        raise BadOption(f"Name --out DIR, and at least one epoch, scene and seed: --out {example}.")
    torch.set_num_threads(1)  # more would change the last bits of what is learnt
    return replace(plan, epochs=given.epochs, count=given.count)


def trained(recipe: Recipe, folder: Path, learn: Series) -> nn.Module:
    """The network of that recipe after its training on `learn`; a killed training goes on where it was.

    Raises: UnknownName, Uneditable, CheckpointError, MissingExtra.
    """
    net = fresh(recipe)
    net.load_state_dict(load_file(train(recipe, folder, data=learn)))
    return net


def lost(whole: NDArray[Any], cut: NDArray[Any]) -> list[float]:
    """How much accuracy (seed, image) the cut network lost: the mean over seeds, and its 95 % interval over the scenes."""
    return [float(one) for one in bootstrap((whole.astype(float) - cut.astype(float)).mean(axis=0))]


def lost_points(told: list[float]) -> str:
    """What was lost in points, with its interval."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * one for one in told))


def right_share(right: int, judged: int) -> str:
    """Per cent right, with its 95 % Wilson interval."""
    one = wilson(right, judged)
    return f"{100 * one.value:.1f} ({100 * one.low:.1f}–{100 * one.high:.1f})"


def keep(path: Path, **found: Any) -> None:
    """Write what was found as JSON, beside the date and torch's version."""
    said = {"date": datetime.now(UTC).date().isoformat(), "torch": torch.__version__, **found}
    path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(text, flush=True)
