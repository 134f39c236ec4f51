"""Which validation images a trained network named rightly, image by image, so that runs can be compared in pairs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microtome.numerics.maps.segmentation import bootstrap_statistic, mean_iou
from microtome.numerics.statistics.intervals import Interval
from microtome.training.trained_run import ANSWERS_FILE


@dataclass(frozen=True)
class RightAnswers:
    """Whether each image (image) was named rightly, and its label."""

    right: NDArray[np.bool_]
    label: NDArray[np.int64]

    def same_images(self, other: "RightAnswers") -> bool:
        """Whether both have the same labels in the same order, without which they cannot be paired."""
        return np.array_equal(self.label, other.label)


def read_answers(folder: Path) -> RightAnswers | None:
    """The answers in the folder of a training, of the images whose label is known; None where it has none."""
    try:
        with np.load(folder / ANSWERS_FILE) as file:
            if "confusion" in file:  # a class for every pixel: images are neither right nor wrong
                return None
            predicted, label = file["predicted"], file["label"]
    except (OSError, ValueError, KeyError):
        return None
    known = label >= 0
    return RightAnswers((predicted == label)[known], label[known].astype(np.int64)) if known.any() else None


def read_mean_iou(folder: Path) -> Interval | None:
    """The mean intersection over union of a training that learnt a class for every pixel, with its interval over images; else None."""
    try:
        with np.load(folder / ANSWERS_FILE) as file:
            counts = file["confusion"]
    except (OSError, ValueError, KeyError):
        return None
    return bootstrap_statistic(counts, mean_iou)
