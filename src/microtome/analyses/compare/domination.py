"""The Pareto front over any criteria: which candidates are dominated, by which others, and whether that is significant.

A candidate is dominated by another that is at least as good on every criterion and better on one. That is significant where the
other's interval lies on the better side on every criterion that has one: for accuracy the interval of the paired difference.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare.named_criteria import ACCURACY, CriterionColumn
from microtome.numerics.statistics.equivalence import PairedComparison
from microtome.numerics.statistics.pareto import domination_table
from microtome.prose import name_list

Values = np.ndarray[Any, Any]


class DominatedPair(NamedTuple):
    """A candidate (index), one that dominates it, and the criteria on which that is not significant."""

    candidate: int
    by: int
    doubtful: tuple[str, ...]


def dominated_candidates(
    columns: Sequence[CriterionColumn], paired: PairedComparison | None, judged: Values
) -> list[DominatedPair]:
    """Every pair of a dominated candidate and one that dominates it, over all networks; `paired` compares those at `judged`."""
    table = domination_table(np.stack([column.values for column in columns], 1), [each.larger_is_better for each in columns])
    position = {int(network): place for place, network in enumerate(judged)}
    return [
        DominatedPair(
            int(low),
            int(high),
            tuple(each.name for each in columns if not _is_shown(each, int(high), int(low), paired, position)),
        )
        for low, high in np.argwhere(table)
    ]


def describe_domination(candidate: int, pairs: Sequence[DominatedPair], names: Sequence[str]) -> str:
    """Who dominates a candidate, significant ones first; "no network" where nobody does."""
    own = sorted((pair for pair in pairs if pair.candidate == candidate), key=lambda pair: len(pair.doubtful))
    texts = [
        names[pair.by] + (f" (not significant in {name_list(list(pair.doubtful), 4)})" if pair.doubtful else "") for pair in own
    ]
    return name_list(texts, 2) if texts else "no network"


def _is_shown(
    column: CriterionColumn, better: int, worse: int, paired: PairedComparison | None, position: dict[int, int]
) -> bool:
    """Whether the first network is shown to be at least as good as the second on a criterion."""
    if column.exact:
        return True
    if column.name == ACCURACY and paired is not None and better in position and worse in position:
        return bool(paired.low[position[worse], position[better]] >= 0)
    if column.larger_is_better:
        return bool(column.low[better] >= column.high[worse])
    return bool(column.high[better] <= column.low[worse])
