"""Verdicts by their numbers, and the numbers of one concept by hand."""

import numpy as np
import pytest

from microtome.analyses.concepts.arrays import (
    ABOVE,
    ALIKE,
    BELOW,
    ConceptResult,
    concept_arrays,
    judge_concepts,
    twin_arrays,
)
from microtome.analyses.concepts.scores import ConceptScores
from microtome.instruments.untrained_twins import NO_VERDICT
from microtome.numerics.statistics.intervals import student_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval


def made_scores(score: float, alignment: float, accuracy: float, sets: int = 4) -> ConceptScores:
    step = np.linspace(-0.01, 0.01, sets)
    return ConceptScores(score + step, alignment + step, accuracy + step)


@pytest.fixture
def randoms() -> list[ConceptScores]:
    return [made_scores(0.5 + each, each, 0.5 + each) for each in np.linspace(-0.1, 0.1, 9)]


def test_numbers_by_hand(randoms):
    own = made_scores(0.9, 0.4, 0.9)
    numbers = ConceptResult(own, randoms).numbers()
    assert numbers["score"] == pytest.approx(0.9) and numbers["score_high"] <= 1.0
    assert (numbers["score_low"], numbers["score_high"]) == pytest.approx(bounded_mean_interval(own.score)[1:])
    low, high = student_interval(own.alignment.tolist())[1:]
    assert (numbers["alignment_low"], numbers["alignment_high"]) == pytest.approx((low, high))
    beyond = ConceptResult(ConceptScores(own.score, np.array([0.7, 0.99, 0.99]), own.accuracy), randoms).numbers()
    assert beyond["alignment_high"] == 1.0  # no cosine is above 1
    assert numbers["random_score"] == pytest.approx(0.5) and numbers["random_alignment"] == pytest.approx(0.0)
    assert numbers["p"] < 0.01 and numbers["accuracy_p"] < 0.01


def test_verdicts(randoms):
    rows = {
        "up": [ConceptResult(made_scores(0.9, 0.5, 0.9), randoms)],
        "down": [ConceptResult(made_scores(0.1, -0.5, 0.9), randoms)],
        "neither": [ConceptResult(made_scores(0.55, 0.05, 0.9), randoms)],
        "blind": [ConceptResult(made_scores(0.9, 0.5, 0.55), randoms)],
        "torn": [ConceptResult(made_scores(0.1, 0.5, 0.9), randoms)],
    }
    arrays = concept_arrays(rows, ["a"])
    assert arrays["verdict"].values[:, 0].tolist() == [ABOVE, BELOW, ALIKE, NO_VERDICT, ALIKE]
    assert (arrays["p_adjusted"].values >= arrays["p"].values).all()


def test_random_concepts_that_do_not_vary_give_no_verdict_but_for_their_accuracy():
    flat = [made_scores(0.5, 0.1 * each, 0.5) for each in range(9)]
    result = ConceptResult(made_scores(0.9, 5.0, 0.9), flat).numbers()
    values = {name: np.array([[value]]) for name, value in result.items()}
    assert judge_concepts(values | {"p_adjusted": values["p"]}) == [[ABOVE]]
    assert judge_concepts(values | {"p_adjusted": np.array([[np.nan]])}) == [[NO_VERDICT]]


def test_twins():
    arrays = twin_arrays({"up": [made_scores(0.6, 0.1, 0.7)] * 2}, ["a", "b"])
    assert arrays["twin_score"].values == pytest.approx(np.array([[0.6, 0.6]]))
    assert arrays["twin_alignment"].coords["layer"].values.tolist() == ["a", "b"]
