"""Who is dominated by whom, and where that is not significant: by hand."""

import numpy as np

from microtome.analyses.compare.domination import DominatedPair, describe_domination, dominated_candidates
from microtome.analyses.compare.named_criteria import ACCURACY, CriterionColumn, parse_criterion
from microtome.numerics.statistics.equivalence import compare_paired

NAMES = ["a", "b", "c"]


def column(name: str, values: list[float], half: float = np.nan, larger: bool = False) -> CriterionColumn:
    middle = np.array(values, dtype=float)
    exact = bool(np.isnan(half))
    return CriterionColumn(
        parse_criterion(name, "x"), "1", larger, middle, middle - half, middle + half, exact, not exact, False
    )


def test_three_criteria_by_hand() -> None:
    """b is worse than a on all three; c is best on memory, so nobody dominates it."""
    columns = [column("params", [1, 2, 3]), column("operations", [1, 2, 3]), column("memory", [5, 5, 4])]
    assert dominated_candidates(columns, None, np.arange(0)) == [DominatedPair(1, 0, ())]
    assert dominated_candidates(columns[:2], None, np.arange(0)) == [
        DominatedPair(1, 0, ()),
        DominatedPair(2, 0, ()),
        DominatedPair(2, 1, ()),
    ]


def test_overlapping_intervals_are_named() -> None:
    columns = [column("params", [1, 2]), column("latency", [1.0, 1.2], 0.2), column("robustness", [0.9, 0.5], 0.1, larger=True)]
    (pair,) = dominated_candidates(columns, None, np.arange(0))
    assert pair == DominatedPair(1, 0, ("latency",))
    assert describe_domination(1, [pair], NAMES) == "a (not significant in latency)"
    assert describe_domination(0, [pair], NAMES) == "no network"


def test_accuracy_is_compared_image_by_image() -> None:
    """c is wrong on 20 images on which a is right and never the other way; b differs from a on as many images both ways, and two more."""
    right = np.ones((3, 400))
    right[1, :12], right[0, 12:22], right[2, :30] = 0, 0, 0
    right[2, 12:22] = 0
    paired = compare_paired(right)
    columns = [column(ACCURACY, list(paired.accuracy), 0.05, larger=True), column("params", [1, 2, 3])]
    found = {(pair.candidate, pair.by): pair.doubtful for pair in dominated_candidates(columns, paired, np.arange(3))}
    assert found[1, 0] == (ACCURACY,) and found[2, 0] == ()


def test_missing_values_dominate_nobody() -> None:
    assert dominated_candidates([column("params", [1, np.nan]), column("operations", [1, 5])], None, np.arange(0)) == []
