"""The images on which methods are tried: each with its predicted class, the runner-up, and what stands in for its pixels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from microtome.images import Images
from microtome.instruments.attribution import runner_up
from microtome.instruments.faithfulness.methods import MapMethod, MapRequest
from microtome.instruments.faithfulness.removal_trials import Canvas, Floats, RemovalPlan, curve_areas, removal_curves
from microtome.scan import Batch, Pace, Step, batches
from microtome.specimen import Specimen


@dataclass(frozen=True, eq=False)
class Trial:
    """A batch of images to try methods on: maps are asked for the predicted class and for the runner-up."""

    batch: Batch
    request: MapRequest
    canvas: Canvas


def prepare_trials(specimen: Specimen, taken: Images, plan: RemovalPlan, pace: Pace) -> Iterator[Trial]:
    """A trial for each batch of the images."""
    for batch in batches(specimen, taken, pace):
        with torch.no_grad():
            scores = specimen.logits(batch.x.clone(memory_format=torch.preserve_format))
        best = scores.argmax(1)
        request = MapRequest(batch.x, batch.index, (best, runner_up(scores, best)))
        yield Trial(batch, request, Canvas.prepare(specimen, batch.x, best, plan))


def score_methods(
    specimen: Specimen, taken: Images, methods: Sequence[MapMethod], plan: RemovalPlan, pace: Pace
) -> Mapping[str, Floats]:
    """For each method its score (image,): the area under the insertion curve minus that under the deletion curve."""
    parts: dict[str, list[Floats]] = {method.name: [] for method in methods}
    order: list[Floats] = []
    for trial in prepare_trials(specimen, taken, plan, pace):
        request = MapRequest(trial.request.x, trial.request.index, trial.request.classes[:1])
        for method in methods:
            parts[method.name].append(score_maps(specimen, method, request, trial.canvas))
        order.append(trial.batch.index)
        done = int(sum(len(each) for each in order))
        pace.listener(Step(f"{specimen.name}: faithfulness of maps", done, len(taken), 0.0))
    places = np.argsort(np.concatenate(order), kind="stable")
    return {name: np.concatenate(values)[places] for name, values in parts.items()}


def score_maps(specimen: Specimen, method: MapMethod, request: MapRequest, canvas: Canvas) -> Floats:
    """The score (image,) of the maps of one method for the first class asked for."""
    (heat, *_) = method.draw(specimen, request)
    return curve_areas(canvas, removal_curves(canvas, canvas.order(heat)))["score"]
