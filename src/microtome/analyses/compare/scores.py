"""What ranks networks where no answers on the images do: a score of transferability that the benchmark trusts, or published results."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare.decision import Decision
from microtome.analyses.compare.prior import Prior, column_unit
from microtome.analyses.compare.proof import ChoiceBenchmark, tau_text
from microtome.finding import Finding
from microtome.key_numbers import format_value
from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval

Values = np.ndarray[Any, Any]
LAYER_SCORES = ("logme", "gbc", "parc", "h_score", "transrate", "nearest", "ridge", "logistic")
SOURCE_NAMES = ("LEEP", "NCE")


class ScoreTable(NamedTuple):
    """One score of all networks (network,), with its interval; NaN where it was not measured."""

    name: str
    values: Values
    low: Values
    high: Values


def transfer_scores(byname: Mapping[str, Mapping[str, Finding]]) -> dict[str, ScoreTable]:
    """Every score that findings of `transfer` hold for two networks or more; of layers, that with the best LogME."""
    findings = [own.get("transfer") for own in byname.values()]
    tables: dict[str, ScoreTable] = {}
    for name in (*LAYER_SCORES, *SOURCE_NAMES):
        ends = np.array([_score(finding, name) for finding in findings])
        if (~np.isnan(ends[:, 0])).sum() > 1:
            tables[name] = ScoreTable(name, *ends.T)
    return tables


def decide_by_score(names: Sequence[str], candidates: Values, score: ScoreTable, benchmark: ChoiceBenchmark) -> Decision:
    """The network with the largest score, if its interval lies above all others'; `candidates` are indices."""
    rank, known = np.full(len(names), np.nan), candidates[~np.isnan(score.values[candidates])]
    record = f"Kendall's tau {tau_text(benchmark.scores[score.name])}"
    if len(known) < 2:
        return Decision(
            rank, "", f"No recommendation: {score.name} ({record}) was measured for fewer than two of these networks."
        )
    order = known[np.argsort(-score.values[known], kind="stable")]
    rank[order] = np.arange(1, len(order) + 1)
    first, second = int(order[0]), int(order[1])
    value = format_value(float(score.values[first]))
    if not (score.low[first] > score.high[order[1:]]).all():
        return Decision(
            rank,
            "",
            f"Not enough evidence by {score.name} ({record}): the intervals of {names[first]} and {names[second]} overlap.",
        )
    return Decision(rank, names[first], f"Choose {names[first]} by {score.name}, {value}; in the benchmark its {record}.")


def decide_by_prior(names: Sequence[str], candidates: Values, prior: Prior) -> Decision | None:
    """The network that published results put first; None where they name fewer than two of the candidates."""
    rank = np.full(len(names), np.nan)
    if not prior.lead:
        return None
    values = prior.columns[prior.lead]
    known = candidates[~np.isnan(values[candidates])]
    if len(known) < 2:
        return None
    order = known[np.argsort(-values[known], kind="stable")]
    rank[order] = np.arange(1, len(order) + 1)
    first = int(order[0])
    text = format_value(float(values[first]), column_unit(prior.lead))
    return Decision(rank, names[first], f"Choose {names[first]} by the prior {prior.source} alone ({prior.lead} {text}): nothing was "
                                        "measured that ranks them.")  # fmt: skip


def _score(finding: Finding | None, name: str) -> Interval:
    """A score with its ends; not numbers where the finding has none."""
    if finding is None:
        return UNKNOWN_INTERVAL
    if name in SOURCE_NAMES:
        if "own_classes" not in finding or name not in finding["own_classes"].measure.values:
            return UNKNOWN_INTERVAL
        return Interval(*(float(finding[f"own_classes{end}"].sel(measure=name)) for end in ("", "_low", "_high")))
    if name not in finding or np.isnan(finding["logme"].values).all():
        return UNKNOWN_INTERVAL
    layer = int(np.nanargmax(finding["logme"].values))
    return Interval(*(float(finding[f"{name}{end}"].values[layer]) for end in ("", "_low", "_high")))
