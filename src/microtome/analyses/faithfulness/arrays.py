"""The arrays of a finding of `faithfulness`: methods in the order of their rank, then the baselines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.analyses.faithfulness.measures import CURVES, MASKED, MEASURES, MethodRows
from microtome.finding import array
from microtome.instruments.faithfulness.ranking import Ranking, Standing
from microtome.instruments.faithfulness.removal_trials import Floats, RemovalPlan
from microtome.instruments.faithfulness.weight_cascade import CascadePart
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.intervals import nan_mean

BASELINE = "baseline"
WHOLE = "trained weights"
TITLES = {
    "score": ("1", "insertion minus deletion"),
    "deletion": ("1", "deletion area"),
    "insertion": ("1", "insertion area"),
    "road": ("1", "ROAD, least minus most relevant"),
    "drop": (FRACTION, "average drop"),
    "increase": (FRACTION, "increase in confidence"),
    "sensitivity": ("1", "max-sensitivity"),
    "swap": ("rank correlation", "map of the runner-up class"),
    "pointing": (FRACTION, "pointing game"),
    "lift": ("fraction of the energy", "energy lift"),
}


def faithfulness_arrays(
    rows: Mapping[str, MethodRows],
    order: np.ndarray[Any, Any],
    ranking: Ranking,
    titles: Mapping[str, str],
    images: Sequence[str],
    parts: Sequence[CascadePart],
    plan: RemovalPlan,
    twin_gains: Floats,
) -> dict[str, xr.DataArray]:
    """All arrays; values by image first, then their means, curves, the cascade and the ranking."""
    ranked = [standing.name for standing in ranking.standings]
    names = [*ranked, *(name for name in rows if name not in ranked)]
    methods = {"method": [titles[name] for name in names]}
    both = methods | {"image": list(images)}
    arrays: dict[str, xr.DataArray] = {}
    for measure in (*MEASURES, *MASKED):
        if measure not in rows[names[0]].values:
            continue
        unit, title = TITLES[measure]
        values = np.stack([rows[name].column(measure, order) for name in names])
        arrays[f"{measure}_by_image"] = array(values, ("method", "image"), unit, both, title)
        arrays[measure] = array(nan_mean(values), ("method",), unit, methods, title)
    fractions = methods | {"fraction": plan.fractions.round(6).tolist()}
    for curve, title in zip(CURVES, ("probability as pixels are removed", "probability as pixels come back"), strict=True):
        values = np.stack([rows[name].column(curve, order).mean(0) for name in names])
        arrays[curve] = array(values, ("method", "fraction"), "1", fractions, title)
    arrays |= _cascade_array(rows, names, methods, parts)
    return arrays | _ranking_arrays(ranking, titles, names, twin_gains, images)


def _cascade_array(
    rows: Mapping[str, MethodRows], names: Sequence[str], methods: Mapping[str, Any], parts: Sequence[CascadePart]
) -> dict[str, xr.DataArray]:
    values = np.stack([nan_mean(np.concatenate(rows[name].values["cascade"]).T) for name in names])
    stages = {"stage": [WHOLE, *(part.lowest for part in parts)]}
    title = "correlation with the trained map"
    left = array(values[:, -1], ("method",), "rank correlation", methods, "map of a network drawn anew")
    return {
        "cascade": array(values, ("method", "stage"), "rank correlation", dict(methods) | stages, title),
        "randomised": left,
    }


def _ranking_arrays(
    ranking: Ranking, titles: Mapping[str, str], names: Sequence[str], twin_gains: Floats, images: Sequence[str]
) -> dict[str, xr.DataArray]:
    methods = {"method": [titles[name] for name in names]}
    standings = [ranking.of(name) for name in names]
    gains = [standing.gain if (standing := ranking.of(name)) else ranking.baseline_gains[name] for name in names]
    ends = {part: [getattr(gain, part) for gain in gains] for part in ("value", "low", "high")}
    baseline = titles[ranking.baseline].lower()
    arrays = {
        f"gain{end}": array(ends[part], ("method",), "1", methods, f"gain over the {baseline}{words}")
        for end, part, words in (("", "value", ""), ("_low", "low", ", low end"), ("_high", "high", ", high end"))
    }
    others = sorted({other for standing in ranking.standings for other in standing.over}, key=list(names).index)
    over = [[standing.over[other].low if standing else np.nan for other in others] for standing in standings]
    arrays["least_gain"] = array(
        over, ("method", "method_"), "1", methods | {"method_": [titles[other] for other in others]}, "low end of the gain over"
    )
    words = [standing.verdict if standing else BASELINE for standing in standings]
    arrays["verdict"] = array(np.array(words, dtype=object), ("method",), "text", methods, "verdict")
    beside = [beside_the_best(standing) if standing else "" for standing in standings]
    arrays["beside_best"] = array(np.array(beside, dtype=object), ("method",), "text", methods, "beside the best")
    arrays["twin_gain"] = array(twin_gains, ("image",), "1", {"image": list(images)}, "gain of the best in untrained twins")
    return arrays


def beside_the_best(standing: Standing) -> str:
    """How a method stands against the best one, in words; empty where no interval is known."""
    if standing.loss.value == standing.loss.low == standing.loss.high == 0:
        return "the best, or the same map"
    if np.isnan(standing.loss.low):
        return ""
    return "worse" if standing.is_worse else "not significantly different"
