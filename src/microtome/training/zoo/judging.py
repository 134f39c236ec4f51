"""The accuracy of a trained network on unseen scenes, and its card.

Source: Wilson 1927, J. Am. Stat. Assoc. 22, for the interval of a fraction; overlaps as in `numerics.segmentation`.
"""

import itertools
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from microtome import networks
from microtome.atomic_write import atomic_write
from microtome.errors import BadOption, CheckpointError
from microtome.images.scenes import CLASSES
from microtome.numerics.graph.counts import count_operations, count_parameters
from microtome.numerics.maps.segmentation import bootstrap_statistic, class_iou, confusion_matrices, mean_iou, pixel_accuracy
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval
from microtome.training.zoo.data import TEST_SEED, TRAINING_SEED, SceneSeries, scene_series
from microtome.training.zoo.loop import normalise
from microtome.training.zoo.recipes import ZooRecipe

TEST_COUNT = 4_000
BACKGROUND = "background"
AREAS = (0.0, 0.04, 0.08, 0.16, 0.32, 1.0)  # edges of the size bins: fractions of the image


def predict_classes(net: nn.Module, data: SceneSeries, batch: int = 250) -> NDArray[np.int64]:
    """The class that `net` (put into eval mode) gives to every image (image), or to every pixel (image, row, col)."""
    net.eval()
    with torch.inference_mode():
        parts = [
            net(normalise(torch.from_numpy(data.pixels[start : start + batch]))).argmax(1).numpy()
            for start in range(0, len(data), batch)
        ]
    return np.concatenate(parts)


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """The 95% Wilson interval of the fraction `right` / `count`; (0, 1) when nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share, spread = right / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def multiply_adds(net: nn.Module) -> int:
    """Multiplications and additions, counted as one, of convolutions and matrix products for one 64 x 64 image."""
    net.eval()
    return count_operations(net, torch.zeros(1, 3, *networks.SIZE)) // 2


def load_network(name: str, path: Path) -> nn.Module:
    """The network called `name` with the weights of `path`, in eval mode.

    Raises: CheckpointError where the file does not fit.
    """
    net = networks.build(name)
    try:
        net.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise CheckpointError(f"The weights in '{path}' do not fit {name}: {error}") from error
    return net.eval()


def make_card(path: Path, recipe: ZooRecipe, *, cache: Path | None = None) -> dict[str, Any]:
    """Everything worth knowing of the weights in `path`: sizes, recipe, command, what they get right on unseen scenes."""
    data = scene_series(TEST_COUNT, TEST_SEED, masks=recipe.segments, cache=cache)
    net = load_network(recipe.network, path)
    return {
        "name": recipe.network,
        "family": networks.FAMILIES[recipe.network],
        "labels": [BACKGROUND, *CLASSES] if recipe.segments else list(CLASSES),
        "parameters": count_parameters(net),
        "macs": multiply_adds(net),
        **(pixel_scores(net, data) if recipe.segments else image_accuracy(net, data)),
        "scenes": {"learn_seed": TRAINING_SEED, "judge_seed": TEST_SEED, "controls": "default", "size": networks.SIZE[0]},
        "recipe": recipe.json(),
        "seed": recipe.seed,
        "command": f"python -m microtome.training {recipe.network} --out DIR",
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def image_accuracy(net: nn.Module, data: SceneSeries) -> dict[str, Any]:
    """Which fraction of the scenes is named rightly, with its interval, and by the object's size."""
    right = predict_classes(net, data) == data.labels
    low, high = accuracy_interval(int(right.sum()), len(data))
    sizes = []
    for least, most in itertools.pairwise(AREAS):
        chosen = right[(data.areas >= least) & (data.areas < most)]
        hits, count = int(chosen.sum()), len(chosen)
        sizes.append({"area": [least, most], "count": count, "right": hits, "interval": list(accuracy_interval(hits, count))})
    return {
        "accuracy": float(right.mean()),
        "right": int(right.sum()),
        "judged": len(data),
        "interval": [low, high],
        "by_area": sizes,
    }


def pixel_scores(net: nn.Module, data: SceneSeries) -> dict[str, Any]:
    """Mean intersection over union and pixel accuracy, each with its interval over scenes, and the overlap by class and by size.

    Bounds are None for fewer than `MIN_SCENES` scenes. The overlap is None of a class that is nowhere, and of a size that no scene has.
    `background` is the accuracy of an answer that never sees an object.

    Raises: BadOption for scenes without targets.
    """
    if data.targets is None:
        raise BadOption("These scenes have no class for their pixels, so a network that segments cannot be judged on them.")
    counts = confusion_matrices(data.targets.astype(np.int64), predict_classes(net, data), len(CLASSES) + 1)
    pixel, mean = bootstrap_statistic(counts, pixel_accuracy), bootstrap_statistic(counts, mean_iou)
    sizes = []
    for least, most in itertools.pairwise(AREAS):
        some = counts[(data.areas >= least) & (data.areas < most)]
        inside = bootstrap_statistic(some, mean_iou) if len(some) else UNKNOWN_INTERVAL
        sizes.append({"area": [least, most], "count": len(some), "mean_iou": _known(inside.value), "interval": _bounds(inside)})
    return {
        "pixel_accuracy": pixel.value,
        "pixel_interval": _bounds(pixel),
        "mean_iou": mean.value,
        "interval": _bounds(mean),
        "iou": [None if np.isnan(value) else float(value) for value in class_iou(counts.sum(0))],
        "background": float((data.targets == 0).mean()),
        "judged": len(data),
        "by_area": sizes,
    }


def _bounds(interval: Interval) -> list[float | None]:
    """Both ends as JSON values; None where they are not known."""
    return [_known(interval.low), _known(interval.high)]


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def write_card(path: Path, recipe: ZooRecipe, *, cache: Path | None = None) -> dict[str, Any]:
    """The card of the weights in `path`, also written beside them as JSON."""
    card = make_card(path, recipe, cache=cache)
    with atomic_write(path.with_suffix(".json")) as file:
        file.write((json.dumps(card, indent=2) + "\n").encode())
    return card
