"""Arrays and figures of limits, domination and weights: what a reader sees of them."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from microtome.analyses.compare import wording
from microtome.analyses.compare.domination import DominatedPair, describe_domination
from microtome.analyses.compare.recommending import Recommendation
from microtome.finding import Finding, array
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.statistics.weight_regions import utilities_by_weight
from microtome.panels import Curve, Panel, Table

STEPS = 101  # weights at which the curves are drawn; the regions are exact


def limit_arrays(made: Recommendation, names: Sequence[str], images: int) -> dict[str, xr.DataArray]:
    """How each network stands to each limit, in words; nothing without limits."""
    if not made.judgements:
        return {}
    cells = np.array([wording.limit_cells(each, images) for each in made.judgements], dtype=object).T
    coords = {"specimen": list(names), "measure": [wording.limit_title(each) for each in made.judgements]}
    return {"limits": array(cells.astype(str), ("specimen", "measure"), "text", coords, "limit")}


def domination_arrays(pairs: Sequence[DominatedPair], names: Sequence[str]) -> dict[str, xr.DataArray]:
    """Who dominates each network; nothing where nobody is dominated."""
    if not pairs:
        return {}
    texts = [describe_domination(place, pairs, names) for place in range(len(names))]
    return {"dominated_by": array(texts, ("specimen",), "text", {"specimen": list(names)}, "dominated by")}


def weight_arrays(made: Recommendation, names: Sequence[str]) -> dict[str, xr.DataArray]:
    """Utilities of the judged networks, against every weight, and the regions of weights; nothing without preferences."""
    if made.weighing is None:
        return {}
    weighing, judged = made.weighing, [names[place] for place in made.judged]
    coords, at = {"specimen": judged}, np.linspace(0, 1, STEPS)
    parts = {**coords, "measure": weighing.names}
    arrays: dict[str, xr.DataArray] = {
        "utility": array(weighing.totals, ("specimen",), "1", coords, "utility by the weights"),
        "utilities": array(weighing.utilities, ("specimen", "measure"), "1", parts, "scaled criterion"),
        "weight": array(weighing.weights, ("measure",), FRACTION, {"measure": weighing.names}, "weight"),
    }
    if made.stays is not None:
        arrays["first_by_weights"] = array(
            made.stays, ("specimen",), FRACTION, coords, "first by the weights in bootstrap samples"
        )
    if len(weighing.names) < 2:
        return arrays
    rows, winners = list[str](), list[str]()
    for place, (name, regions) in enumerate(made.regions.items()):
        curve = utilities_by_weight(weighing.utilities, weighing.weights, place, at)
        title = f"utility against the weight of {name}"
        arrays[f"by_weight_{place}"] = array(curve, ("specimen", "fraction"), "1", {**coords, "fraction": at}, title)
        rows += [f"{name} {wording.region_text(region)}" for region in regions]
        winners += [judged[region.winner] for region in regions]
    arrays["first_network"] = array(winners, ("part",), "text", {"part": rows}, "network with the largest utility")
    return arrays


def choice_panels(finding: Finding) -> list[Panel]:
    """The figures of limits, domination and weights that a finding has arrays for."""
    panels: list[Panel] = []
    if "limits" in finding:
        panels.append(Table(title="Limits", rows="specimen", columns=("limits",),
                            note="A limit is kept where the whole interval keeps it; accuracies are judged together."))  # fmt: skip
    if "dominated_by" in finding:
        panels.append(Table(title="Dominated networks", rows="specimen", columns=("dominated_by",),
                            note=f"Criteria: {', '.join(finding.facts['front criteria'])}."))  # fmt: skip
    if "utility" in finding:
        columns = ("utility", *(("first_by_weights",) if "first_by_weights" in finding else ()), "utilities")
        panels.append(Table(title="Utility by your weights", rows="specimen", columns=columns,
                            note="Each criterion is scaled from 0 for the worst to 1 for the best."))  # fmt: skip
    if "first_network" in finding:
        panels.append(Table(title="Which network is first at which weight", rows="part", columns=("first_network",),
                            note="One weight moves, the others keep their proportions."))  # fmt: skip
        panels += [
            Curve(title=f"Utility against the weight of {name}", y=(f"by_weight_{place}",), x="fraction", by="specimen",
                  note=f"Your weight of {name}: {_percent(finding, place)}. The uppermost line is recommended.")
            for place, name in enumerate(finding["weight"].measure.values)
        ]  # fmt: skip
    return panels


def _percent(finding: Finding, place: int) -> str:
    return format_value(float(finding["weight"].values[place]), FRACTION)
