"""One network shown images under all conditions: one row for each image of answers and of distances that features move."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.analyses.robustness.conditions import Condition, inputs_under
from microtome.images import Images
from microtome.instruments.class_matching import why_no_head
from microtome.instruments.pooled_features import pool_positions
from microtome.scan import Batch
from microtome.specimen import Specimen, watch
from microtome.specimen.finiteness import finite_rows
from microtome.tally import Rows

Values = np.ndarray[Any, Any]
NO_ANSWER = -1


class Viewer:
    """Shows batches under conditions; `columns` gives what one batch gave, for a tally of rows."""

    def __init__(self, specimen: Specimen, conditions: Sequence[Condition], layers: Sequence[str], seed: int) -> None:
        self.specimen, self.conditions, self.layers, self.seed = specimen, conditions, layers, seed
        self.answers = not why_no_head(specimen)

    def columns(self, images: Images, batch: Batch) -> dict[str, Values]:
        """Answers and their probabilities (image, 1 + condition), clean first, distances (image, condition, layer), clean features."""
        clean, features = self._run(batch.x)
        views = [clean]
        moved = np.empty((len(batch.index), len(self.conditions), len(self.layers)))
        pixels = images.inputs(self.specimen.recipe, batch.index)
        for place, condition in enumerate(self.conditions):
            answered, changed = self._run(inputs_under(condition, self.specimen, pixels, batch.x, self.seed))
            views.append(answered)
            for number, name in enumerate(self.layers):
                moved[:, place, number] = np.linalg.norm(changed[name].astype(np.float64) - features[name], axis=1)
        return {
            "answer": np.stack([answer for answer, _ in views], axis=1),
            "sure": np.stack([sure for _, sure in views], axis=1),
            "moved": moved,
            **{f"clean/{name}": value for name, value in features.items()},
        }

    def _run(self, x: Tensor) -> tuple[tuple[Values, Values], dict[str, Values]]:
        """The answers with their probabilities, each (image,), and the pooled features of every layer."""
        features: dict[str, Values] = {}

        def keep(name: str, value: Tensor) -> None:
            features[name] = pool_positions(self.specimen, name, value)

        with watch(self.specimen, list(self.layers), each=keep):
            output = self.specimen.pick(self.specimen.run(x))
        if not self.answers:
            return (np.full(len(x), NO_ANSWER), np.full(len(x), np.nan)), features
        scores = self.specimen.class_scores(output)
        sound = finite_rows(scores).cpu().numpy()
        sure, answer = torch.softmax(scores.double(), dim=1).max(1)
        answer_array = np.where(sound, answer.cpu().numpy(), NO_ANSWER)
        return (answer_array, np.where(sound, sure.cpu().numpy(), np.nan)), features


def mean_distances(features: Values) -> Values:
    """The mean distance of each image to the others (image,), from features (image, unit); not numbers for one image."""
    data = features.astype(np.float64)
    if len(data) < 2:
        return np.full(len(data), np.nan)
    total = np.zeros(len(data))
    for place, row in enumerate(data[:-1]):
        gaps = np.linalg.norm(data[place + 1 :] - row, axis=1)
        total[place] += gaps.sum()
        total[place + 1 :] += gaps
    return total / (len(data) - 1)


def typical_distance(features: Values) -> float:
    """The mean distance between two different images, from features (image, unit); not a number for one image."""
    return float(mean_distances(features).mean()) if len(features) else float("nan")


def typical_distances(rows: Rows, layers: Sequence[str]) -> Values:
    """`typical_distance` of the clean images, of each layer (layer,)."""
    return np.array([typical_distance(rows.column(f"clean/{name}")) for name in layers])
