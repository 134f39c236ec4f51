"""How much of each map is left as the weights are drawn anew from the head downwards."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from microtome.analyses.faithfulness.measures import FEW, MethodRows, of_first
from microtome.instruments.faithfulness.methods import MapMethod, MapRequest
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
    asked = MapRequest(trial.request.x, trial.request.index, trial.request.classes[:1])
    count = len(asked.x)
    rows: dict[str, list[Floats]] = {method.name: [np.ones(count)] for method in methods}
    for network in randomised_networks(specimen, list(parts), asked.x, seed):
        for method in methods:
            some = asked.first(FEW) if method.costly else asked
            (heat,) = method.draw(network, some)
            left = map_correlation(originals[method.name][: len(some.x)], heat, trial.canvas.plan.patch)
            rows[method.name].append(of_first(left, count))
    return {name: np.stack(columns, 1) for name, columns in rows.items()}


def add_cascade(rows: Mapping[str, MethodRows], correlations: Mapping[str, Floats]) -> None:
    """Put the correlations of a batch beside the other measures."""
    for name, values in correlations.items():
        rows[name].add({"cascade": values})
