"""The direct test: the change of a network's score when single pixels change, against what the gradient promises."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtome.batch_size import fitting_batch
from microtome.finding import array
from microtome.images import Images
from microtome.scan import Pace, Step, batches
from microtome.specimen import Specimen

PERTURBATION = 0.1  # of the perturbation, in normalised units
PROBED_SIDE = 5  # of the square of pixels that are perturbed one by one, in the middle of the image


def gives_maps(output: Tensor) -> bool:
    """Whether the network gives maps (image, class, row, col) instead of one score for each class."""
    return output.dim() > 2 and output[0].numel() != output.shape[1]


def class_score(output: Tensor) -> Tensor:
    """The predicted class' logit, or for maps the mean of all scores."""
    if gives_maps(output):
        return output.flatten(1).mean(1)
    scores = output.flatten(1)
    return scores.gather(1, scores.detach().argmax(1, keepdim=True))[:, 0]


def perturbation_arrays(
    specimen: Specimen, images: Images, pace: Pace, field: np.ndarray[Any, Any], slope: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Theorem 1: the change of the logit when all channels of one pixel are raised by STEP, against STEP · `slope` there.

    `slope` is the mean size of the gradient on these very images, `field` the output field on all.
    """
    rows, cols = field.shape
    side = min(PROBED_SIDE, rows, cols)
    top, left = (rows - side) // 2, (cols - side) // 2
    pixels = [(top + row, left + col) for row in range(side) for col in range(side)]
    change, score = np.zeros(len(pixels)), "logit"
    at_once = fitting_batch(specimen, len(pixels) + 1, pace.memory)
    for batch in batches(specimen, images, pace):
        for x in batch.x:
            raised = x[None].repeat(len(pixels) + 1, 1, 1, 1)
            for index, (row, col) in enumerate(pixels):
                raised[index + 1, :, row, col] += PERTURBATION
            with torch.no_grad():
                answers = [specimen.answer(some) for some in raised.split(at_once)]
            score = "mean score" if gives_maps(answers[0]) else "logit"
            scores = _scores_of_first(answers).double().cpu().numpy()
            change += np.abs(scores[1:] - scores[0])
        pace.listener(Step(f"{specimen.name}: changed pixels", int(batch.index[-1]) + 1, len(images), 0.0))
    change /= len(images)
    at = tuple(np.array(pixels).T)
    expected = PERTURBATION * slope[at]
    parts = {"part": [f"row {row}, col {col}" for row, col in pixels]}
    return {
        "expected": array(
            expected, ("part",), score, parts, f"change expected from the gradient, {PERTURBATION} x its mean size"
        ),
        "moved": array(change, ("part",), score, parts, f"mean change of the {score} for a step of {PERTURBATION}"),
        "r2": array(_r_squared(expected, change), (), "1", title="R² of gradient and change"),
        "r2_field": array(_r_squared(field[at], change), (), "1", title="R² of output field and change"),
    }


def _r_squared(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """The squared correlation; 0 where either is constant."""
    spread = float(first.std() * second.std())
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread) ** 2 if spread > 0 else 0.0


def _scores_of_first(answers: Sequence[Tensor]) -> Tensor:
    """The score of each changed image, of the class predicted for the unchanged one (the first); `answers` are of all, in parts."""
    if gives_maps(answers[0]):
        return torch.cat([answer.flatten(1).mean(1) for answer in answers])
    scores = torch.cat([answer.flatten(1) for answer in answers])
    return scores[:, int(scores[0].argmax())]
