"""How much of each map is left as the weights are drawn anew from the head downwards."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from microtome.analyses.faithfulness.measures import MethodRows
from microtome.instruments.faithfulness.methods import MapMethod
from microtome.instruments.faithfulness.removal_trials import Floats
from microtome.instruments.faithfulness.stability import map_correlation
from microtome.instruments.faithfulness.trials import Trial
from microtome.instruments.faithfulness.weight_cascade import CascadePart, randomised_networks
from microtome.specimen import Specimen


def cascade_correlations(
    specimen: Specimen,
    parts: Sequence[CascadePart],
    methods: Sequence[MapMethod],
    trial: Trial,
    originals: Mapping[str, Tensor],
    seed: int,
) -> dict[str, Floats]:
    """For each method the rank correlation (image, stage) of its maps with those of the whole network, which begins with 1."""
    request = trial.request
    rows: dict[str, list[Floats]] = {method.name: [np.ones(len(request.x))] for method in methods}
    for network in randomised_networks(specimen, list(parts), request.x, seed):
        for method in methods:
            (heat, *_) = method.draw(network, type(request)(request.x, request.index, request.classes[:1]))
            rows[method.name].append(map_correlation(originals[method.name], heat, trial.canvas.plan.patch))
    return {name: np.stack(columns, 1) for name, columns in rows.items()}


def add_cascade(rows: Mapping[str, MethodRows], correlations: Mapping[str, Floats]) -> None:
    """Put the correlations of a batch beside the other measures."""
    for name, values in correlations.items():
        rows[name].add({"cascade": values})
