"""A score decides only by an interval above all others, and published results only in name."""

import numpy as np

from microtome.analyses.compare.prior import Prior
from microtome.analyses.compare.proof import ChoiceBenchmark, ScoreRecord
from microtome.analyses.compare.scores import ScoreTable, decide_by_prior, decide_by_score, transfer_scores
from microtome.finding import Finding, array

NAMES = ["a", "b", "c"]
BENCHMARK = ChoiceBenchmark("docs/choice.md", 12, 8, {"logme": ScoreRecord(0.5, 0.2, 0.7, 1.0, 12)})


def transfer(logme: list[float], gbc: list[float], leep: float = np.nan) -> Finding:
    layers, measures = {"layer": ["x", "y"]}, {"measure": ["LEEP", "NCE"]}
    arrays = {
        name + end: array(np.array(values) + shift, ("layer",), "1", layers)
        for name, values in (("logme", logme), ("gbc", gbc)) for end, shift in (("", 0.0), ("_low", -0.1), ("_high", 0.1))
    }  # fmt: skip
    arrays |= {f"own_classes{end}": array([leep, np.nan], ("measure",), "nats", measures) for end in ("", "_low", "_high")}
    return Finding(analysis="transfer", arrays=arrays)


def test_scores_are_taken_at_the_layer_of_the_best_logme() -> None:
    byname = {
        "a": {"transfer": transfer([0.1, 0.5], [-1.0, -2.0], 0.3)},
        "b": {"transfer": transfer([0.9, 0.2], [-3.0, -4.0])},
        "c": {},
    }
    tables = transfer_scores(byname)
    assert list(tables) == ["logme", "gbc"], "LEEP is known for one network only"
    assert tables["logme"].values[:2].tolist() == [0.5, 0.9] and tables["gbc"].values[:2].tolist() == [-2, -3]
    assert np.isnan(tables["gbc"].values[2]) and tables["logme"].low[0] == 0.4


def test_overlap_is_not_enough() -> None:
    score = ScoreTable("logme", np.array([0.5, 0.9, 0.1]), np.array([0.4, 0.8, 0.0]), np.array([0.6, 1.0, 0.2]))
    found = decide_by_score(NAMES, np.arange(3), score, BENCHMARK)
    assert found.choice == "b" and found.rank.tolist() == [2, 1, 3]
    assert found.reason == "Choose b by logme, 0.900; in the benchmark its Kendall's tau 0.500 [0.200, 0.700]."
    wide = decide_by_score(NAMES, np.arange(3), score._replace(high=np.array([0.9, 1.0, 0.2])), BENCHMARK)
    assert wide.choice == "" and "the intervals of b and a overlap" in wide.reason
    alone = decide_by_score(NAMES, np.array([0]), score, BENCHMARK)
    assert alone.choice == "" and "fewer than two" in alone.reason


def test_a_prior_is_named() -> None:
    prior = Prior("r.csv", {"top1": np.array([0.7, 0.8, np.nan])}, [])
    found = decide_by_prior(NAMES, np.arange(3), prior)
    assert found is not None and found.choice == "b" and len(found.reason.split()) <= 20
    assert found.reason == "Choose b by the prior r.csv alone (top1 80.0%): nothing was measured that ranks them."
    assert (
        decide_by_prior(NAMES, np.array([0, 2]), prior) is None
        and decide_by_prior(NAMES, np.arange(3), Prior("r", {}, [])) is None
    )
