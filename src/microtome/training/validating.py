"""What a network answers to the validation images, and how much of it is right."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from microtome.atomic_write import atomic_write
from microtome.numerics.maps.segmentation import confusion_matrices, mean_iou
from microtome.specimen import Specimen
from microtome.training.data import LabelledImages
from microtome.training.losses import cross_entropy


@dataclass(frozen=True)
class Answers:
    """Of each validation image the predicted class and the label (image,); for maps the confusion matrix (image, class, class)."""

    loss: float
    predicted: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    confusion: npt.NDArray[np.int64] | None = None

    @property
    def accuracy(self) -> float:
        """The fraction of images, or of pixels, whose class is right."""
        if self.confusion is not None:
            counts = self.confusion.sum(0)
            return float(np.trace(counts) / max(1, counts.sum()))
        return float((self.predicted == self.label).mean())

    @property
    def mean_iou(self) -> float | None:
        """The mean intersection over union of the classes; None for networks that give one class for each image."""
        return None if self.confusion is None else float(mean_iou(self.confusion.sum(0)))

    def save(self, path: Path) -> None:
        """Write the answers as .npz."""
        arrays = {"predicted": self.predicted, "label": self.label}
        if self.confusion is not None:
            arrays["confusion"] = self.confusion
        with atomic_write(path) as file:
            np.savez(file, allow_pickle=False, **arrays)


def answer_images(specimen: Specimen, data: LabelledImages, batch: int, layout: torch.memory_format, autocast: Any) -> Answers:
    """The answers of the network in eval mode, without augmentation; `autocast` makes the context of the forward pass."""
    specimen.net.eval()
    total = 0.0
    predicted: list[Any] = []
    confusion: list[Any] = []
    for start in range(0, len(data), batch):
        chosen = np.arange(start, min(start + batch, len(data)))
        values = torch.from_numpy(data.inputs(specimen.recipe, chosen))
        targets = torch.from_numpy(data.targets(specimen.recipe, chosen)).to(specimen.device)
        x = specimen.recipe.normalise(values.to(specimen.device), layout)
        with torch.no_grad(), autocast():
            scores = specimen.class_scores(specimen.pick(specimen.net(x)))
        total += float(cross_entropy(scores, targets)) * len(chosen)
        if scores.ndim > 2:
            if scores.shape[2:] != targets.shape[1:]:
                scores = torch.nn.functional.interpolate(scores.float(), tuple(targets.shape[1:]), mode="bilinear")
            wrong = confusion_matrices(targets.cpu().numpy(), scores.argmax(1).cpu().numpy(), int(scores.shape[1]))
            confusion.append(wrong)
        predicted.append(scores.argmax(1).cpu().numpy() if scores.ndim == 2 else data.labels[chosen])
    return Answers(total / len(data), np.concatenate(predicted), data.labels, np.concatenate(confusion) if confusion else None)
