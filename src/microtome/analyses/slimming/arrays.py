"""The arrays of a slimming finding: one row for each candidate, and the predictors' correlations with the measured loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.analyses.slimming.bench import Repair
from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.savings import Savings
from microtome.finding import array
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.equivalence import compare_paired
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.rank_correlations import rank_correlation_interval

Answers = np.ndarray[Any, Any]
PREDICTORS = {
    "influence": "block influence",
    "angle": "angular distance",
    "cka": "1 - CKA of input and output",
    "weight_distance": "W1/σ to the block before",
    "penultimate": "blocks away from the last but one",
}
CORRELATION_TITLES = ("rank correlation with the loss", "95% from", "95% to")
PLAIN_TITLES = {"loss": "accuracy lost", "low": "95% from", "high": "95% to"}
VERDICTS = ("within the budget", "undecided", "beyond the budget")


def loss_interval(answers: Answers, full: Answers) -> Interval:
    """How much accuracy is lost against the full network on the same images, with Tango's interval."""
    pair = compare_paired(np.stack([answers, full]).astype(np.float64))
    return Interval(float(pair.loss[0, 1]), float(pair.low[0, 1]), float(pair.high[0, 1]))


def budget_verdict(interval: Interval, budget: float) -> str:
    """Whether an interval of a loss lies within the budget, beyond it, or on both sides."""
    if np.isnan(interval.high):
        return VERDICTS[1]
    return VERDICTS[0] if interval.high <= budget else VERDICTS[2] if interval.low > budget else VERDICTS[1]


def candidate_arrays(
    candidates: Sequence[SmallerNetwork],
    answers: Mapping[str, Mapping[Repair, Answers]],
    baselines: Mapping[str, Answers],
    repairs: Sequence[Repair],
    savings: Sequence[Savings],
    budget: float,
) -> dict[str, xr.DataArray]:
    """The table of all candidates; `savings` begins with the full network, `baselines` has the full network's answers by kind."""
    names = [candidate.name for candidate in candidates]
    rows, both = {"candidate": names}, {"candidate": names, "repair": list(repairs)}
    shape = len(candidates), len(repairs)
    values = {name: np.full(shape, np.nan) for name in ("accuracy", "loss", "loss_low", "loss_high")}
    verdicts = np.full(shape, "not measured", dtype=object)
    for row, candidate in enumerate(candidates):
        for col, repair in enumerate(repairs):
            if (own := answers[candidate.name].get(repair)) is None:
                continue
            interval = loss_interval(own, baselines[candidate.kind])
            values["accuracy"][row, col] = own.mean()
            for name, part in zip(("loss", "loss_low", "loss_high"), interval, strict=True):
                values[name][row, col] = part
            verdicts[row, col] = budget_verdict(interval, budget)
    whole, parts = savings[0], savings[1:]
    removed = [len(candidate.blocks) for candidate in candidates]
    titles = {"accuracy": "accuracy", "loss": "accuracy lost"}
    return {
        "kind": array([c.kind for c in candidates], ("candidate",), "text", rows, "what is done"),
        "from_end": array([c.from_end for c in candidates], ("candidate",), "blocks", rows, "block from the end"),
        "removed": array(removed, ("candidate",), "blocks", rows, "blocks removed"),
        "parameters_saved": array(
            [1 - each.parameters / whole.parameters for each in parts], ("candidate",), FRACTION, rows, "parameters saved"
        ),
        "operations_saved": array(
            [1 - each.operations / max(whole.operations, 1) for each in parts],
            ("candidate",),
            FRACTION,
            rows,
            "multiply-adds saved",
        ),
        "memory_saved": array(
            [1 - each.memory / whole.memory for each in parts], ("candidate",), FRACTION, rows, "live memory saved"
        ),
        "latency": array(
            [each.latency.value for each in parts], ("candidate",), FRACTION, rows, "latency, of the full network's"
        ),
        "latency_low": array([each.latency.low for each in parts], ("candidate",), FRACTION, rows, "latency, from"),
        "latency_high": array([each.latency.high for each in parts], ("candidate",), FRACTION, rows, "latency, to"),
        **{name: array(value, ("candidate", "repair"), FRACTION, both, titles.get(name, "")) for name, value in values.items()},
        **{
            f"plain_{name}": array(values[key][:, 0], ("candidate",), FRACTION, rows, PLAIN_TITLES[name])
            for name, key in (("loss", "loss"), ("low", "loss_low"), ("high", "loss_high"))
        },
        "verdict": array(verdicts.astype(str), ("candidate", "repair"), "text", both, "against the budget"),
    }


def predictor_arrays(
    candidates: Sequence[SmallerNetwork], loss: np.ndarray[Any, Any], predictors: Mapping[str, np.ndarray[Any, Any]]
) -> dict[str, xr.DataArray]:
    """What each predictor says of the single blocks, and its rank correlation with the measured loss; higher says more is lost."""
    single = np.array([candidate.kind == "block" for candidate in candidates])
    table = np.full((len(candidates), len(PREDICTORS)), np.nan)
    correlations = np.full((len(PREDICTORS), 3), np.nan)
    pairs = np.zeros(len(PREDICTORS), dtype=np.int64)
    for col, name in enumerate(PREDICTORS):
        table[single, col] = predictors[name]
        known = np.isfinite(table[:, col]) & single & np.isfinite(loss)
        pairs[col] = int(known.sum())
        correlations[col] = rank_correlation_interval(table[known, col], loss[known])
    titles = list(PREDICTORS.values())
    by = {"measure": titles}
    ends = ("correlation", "correlation_low", "correlation_high")
    return {
        "predictor": array(
            table, ("candidate", "measure"), "1", {"candidate": [c.name for c in candidates], **by}, "predicted, larger loses more"
        ),
        **{name: array(correlations[:, place], ("measure",), "1", by, CORRELATION_TITLES[place])
           for place, name in enumerate(ends)},
        "pairs": array(pairs, ("measure",), "blocks", by, "blocks"),
    }  # fmt: skip


def study_arrays(arrays: Mapping[str, xr.DataArray], rows: Mapping[str, tuple[str, str]]) -> dict[str, xr.DataArray]:
    """A short table that answers the study: for each of `rows` the candidate (empty: none) and the repair it is shown with."""
    names = list(map(str, arrays["kind"].candidate.values))
    values: dict[str, list[float]] = {"loss": [], "low": [], "high": [], "parameters": [], "latency": []}
    sources = {"loss": "loss", "low": "loss_low", "high": "loss_high"}
    for candidate, repair in rows.values():
        for name, own in values.items():
            if candidate not in names:
                own.append(np.nan)
            elif name in sources:
                own.append(float(arrays[sources[name]].sel(candidate=candidate, repair=repair)))
            else:
                own.append(float(arrays["parameters_saved" if name == "parameters" else name].sel(candidate=candidate)))
    by = {"measure": list(rows)}
    titles = {
        "loss": "accuracy lost",
        "low": "95% from",
        "high": "95% to",
        "parameters": "parameters saved",
        "latency": "latency, of the full network's",
    }
    known = zip(rows.values(), values["loss"], strict=True)
    blocks = [name if np.isfinite(loss) else f"{name}: cannot be removed" for (name, _), loss in known]
    return {
        "study_block": array(blocks, ("measure",), "text", by, "removed"),
        **{f"study_{name}": array(own, ("measure",), FRACTION, by, titles.get(name, "")) for name, own in values.items()},
    }
