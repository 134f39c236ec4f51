"""What every experiment does alike: a network as its training left it, results kept with their date, accuracies told with intervals."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from microtome.numerics.intervals import bootstrap, wilson
from microtome.training.data import Series
from microtome.training.loop import fresh, train
from microtome.training.recipes import Recipe

Told = Callable[[str], None]


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
