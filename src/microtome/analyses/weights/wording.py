"""Key numbers, figures and caveats of the distances between neighbouring weights; similarity is never taken for redundancy."""

from collections.abc import Sequence
from math import nan

import numpy as np

from microtome.finding import Finding
from microtome.instruments.untrained_twins import NO_VERDICT, TWINS, VERDICTS
from microtome.key_numbers import FRACTION, KeyNumber
from microtome.numerics.weights.pairs import LIKE_ROLE
from microtome.panels import Bars, Panel, Table
from microtome.prose import name_list, plural

MAX_NAMES = 6  # in one caveat


def distance_key_numbers(finding: Finding) -> list[KeyNumber]:
    """Median distances of the pairs of one role and shape (of all pairs where there are none); empty where none is finite."""
    own = finding["distance"].sel(measure="W1/σ").values
    usable = np.isfinite(own)
    like = usable & (finding["match"].values == LIKE_ROLE)
    chosen = like if like.any() else usable
    if not chosen.any():
        return []
    layers = [str(name) for name in finding.facts["groups"]]
    at = ", ".join(layers) if len(layers) <= 3 else f"{layers[0]} to {layers[-1]}"
    twin = finding["twin_distance"].sel(measure="W1/σ").values[chosen]
    above = finding["against_twins"].values[chosen] == VERDICTS[1]
    judged = bool((finding["against_twins"].values[chosen] != NO_VERDICT).any())
    numbers = [
        KeyNumber(
            name="W1/σ between neighbours", value=float(np.median(own[chosen])), baseline=float(np.median(twin)),
            baseline_name=TWINS, at=at,
        ),
        KeyNumber(name="pairs further apart than in every twin", value=float(above.mean()) if judged else nan, unit=FRACTION, at=at),
    ]  # fmt: skip
    if "folded_distance" in finding:
        folded, twin_folded = (
            finding[f"{kind}distance"].sel(measure="W1/σ").values[chosen] for kind in ("folded_", "twin_folded_")
        )
        if np.isfinite(folded).any():
            value, baseline = float(np.nanmedian(folded)), _median(twin_folded)
            numbers.append(
                KeyNumber(name="W1/σ, batch norm folded in", value=value, baseline=baseline, baseline_name=TWINS, at=at)
            )
    return numbers


def distance_panels(finding: Finding) -> list[Panel]:
    """The distances as bars, and the pairs as a table."""
    shown: list[Panel] = [
        Bars(
            title="Distance between neighbours", y=("w1_over_sigma", "w1_shape"), x="pair",
            null=("twin_w1_over_sigma", "twin_w1_shape"),
            note="In standard deviations; grey: mean of the untrained twins.",
        )
    ]  # fmt: skip
    columns = ["role", "match", "distance", "twin_w1_over_sigma", "twin_w1_shape", "against_twins"]
    if "folded_distance" in finding and bool(np.isfinite(finding["folded_w1_over_sigma"].values).any()):
        columns += ["folded_w1_over_sigma", "folded_w1_shape"]
        shown.append(
            Bars(
                title="Distance between neighbours, batch norm folded in", x="pair",
                y=("folded_w1_over_sigma", "folded_w1_shape"),
                null=("twin_folded_w1_over_sigma", "twin_folded_w1_shape"), note="Pairs without a norm to fold have no bar.",
            )
        )  # fmt: skip
    return [*shown, Table(title="Compared pairs", rows="pair", columns=tuple(columns))]


def network_caveats(finding: Finding) -> list[str]:
    """Caveats that hold for this network only."""
    lines = _training_caveats(finding) + _pair_caveats(finding)
    whole, read = (finding["statistic"].sel(measure=measure) for measure in ("weights", "weights read"))
    for name in finding["density"].layer.values[(read < whole).values]:
        lines.append(
            f"Moments and distances of {name} are from {int(read.sel(layer=name)):,} of its {int(whole.sel(layer=name)):,} "
            "weights, evenly spaced."
        )
    if "folded_distance" in finding:
        lines.append("The twins' batch norms have mean 0 and variance 1, so folding them in changes almost nothing.")
    else:
        lines.append("No batch norm was folded in: none is the only consumer of a weight layer's output, or fold is off.")
    dtypes = zip(finding["dtype"].layer.values, finding["dtype"].values, strict=True)
    if other := [f"{name} ({dtype})" for name, dtype in dtypes if dtype != "float32"]:
        lines.append(f"Not stored as float32 but converted to it, integers without their scales: {_names(other)}.")
    if "ailing" in finding:
        problems = [
            f"{name}: {text}" for name, text in zip(finding["ailing"].layer.values, finding["ailing"].values, strict=True)
        ]
        lines.append(f"{plural(len(problems), 'weight tensor')} with problems, the first being {problems[0]}.")
    return lines


def _training_caveats(finding: Finding) -> list[str]:
    if finding.trained is None:
        return ["It is not known whether these weights are trained."]
    return [] if finding.trained else ["These weights are untrained: the distances are what chance gives."]


def _pair_caveats(finding: Finding) -> list[str]:
    """What limits the comparison of the pairs."""
    groups = finding.facts["groups"]
    usable = np.isfinite(finding["w1_over_sigma"].values)
    kinds = finding["match"].values
    pairs = [str(pair) for pair in finding["match"].coords["pair"].values]
    lines: list[str] = []
    if len(groups) < 2:
        lines.append("Fewer than two layers with weights were chosen, so there is no distance.")
    elif not usable.any():
        lines.append(f"No two neighbours of {_names(groups)} hold finite weights of one role, so there is no distance.")
    elif not (usable & (kinds == LIKE_ROLE)).any():
        lines.append("No compared pair has the same role and the same shape; the median is over all pairs.")
    if near := [pair for pair, kind in zip(pairs, kinds, strict=True) if kind == "nearest name"]:
        many = plural(len(near), "pair has", "pairs have")
        lines.append(f"{many} different roles, matched by kernel size and nearest name: {_names(near)}.")
    if alone := finding.facts["without_partner"]:
        lines.append(f"Not compared, for lack of a partner of the same role: {_names(alone)}.")
    return lines


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The median of the finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else nan


def _names(names: Sequence[str]) -> str:
    return name_list([str(name) for name in names], MAX_NAMES)
