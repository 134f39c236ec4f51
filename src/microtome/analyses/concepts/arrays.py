"""The arrays of a finding of `concepts`: by concept and layer, beside random concepts and untrained twins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from microtome.analyses.concepts.products import Floats
from microtome.analyses.concepts.scores import ConceptScores
from microtome.finding import array
from microtome.instruments.untrained_twins import NO_VERDICT
from microtome.key_numbers import FRACTION
from microtome.numerics.statistics.intervals import student_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.numerics.statistics.random_draws import (
    draw_range,
    draw_tail,
    holm_adjust,
    two_sided_draw_test,
    welch_test,
)

ALPHA = 0.05
ABOVE, BELOW, ALIKE = "above random concepts", "below random concepts", "not distinguishable from random concepts"
DIMS = ("concept", "layer")


@dataclass(frozen=True)
class ConceptResult:
    """One concept at one layer: its scores, and those of each random concept."""

    own: ConceptScores
    randoms: list[ConceptScores]

    def means(self, name: str) -> Floats:
        """The mean score of each random concept."""
        return np.array([getattr(each, name).mean() for each in self.randoms])

    def numbers(self) -> dict[str, float]:
        """Every number of this concept at this layer, by the name of its array."""
        values: dict[str, float] = {}
        scores, alignments = bounded_mean_interval(self.own.score), student_interval(self.own.alignment.tolist())
        for name, interval, least in (("score", scores, 0.0), ("alignment", alignments, -1.0)):
            low, high = (float(np.clip(end, least, 1.0)) for end in interval[1:])
            draws = self.means(name)
            span = np.clip(draw_range(draws), least, 1.0)
            values |= {name: interval.value, f"{name}_low": low, f"{name}_high": high, f"random_{name}": float(draws.mean())}
            values |= {f"random_{name}_low": float(span[0]), f"random_{name}_high": float(span[1])}
        accuracies = self.means("accuracy")
        values |= {"accuracy": float(self.own.accuracy.mean()), "random_accuracy": float(accuracies.mean())}
        values["accuracy_p"] = draw_tail(values["accuracy"], accuracies)
        values["p"] = two_sided_draw_test(values["alignment"], self.means("alignment"))
        values["paper_p"] = welch_test(self.own.score, np.array([each.score[0] for each in self.randoms]))
        return values


TITLES = {
    "score": (FRACTION, "TCAV score"),
    "score_low": (FRACTION, "TCAV score, low end"),
    "score_high": (FRACTION, "TCAV score, high end"),
    "random_score": (FRACTION, "random concepts"),
    "random_score_low": (FRACTION, "random concepts, low end"),
    "random_score_high": (FRACTION, "random concepts, high end"),
    "alignment": ("cosine", "alignment of gradient and concept"),
    "alignment_low": ("cosine", "alignment, low end"),
    "alignment_high": ("cosine", "alignment, high end"),
    "random_alignment": ("cosine", "random concepts"),
    "random_alignment_low": ("cosine", "random concepts, low end"),
    "random_alignment_high": ("cosine", "random concepts, high end"),
    "accuracy": (FRACTION, "accuracy of the concept vector"),
    "random_accuracy": (FRACTION, "random concepts"),
    "accuracy_p": ("1", "p, accuracy of random concepts"),
    "p": ("1", "p"),
    "p_adjusted": ("1", "p, Holm"),
    "paper_p": ("1", "p, test of the paper"),
}


def concept_arrays(rows: Mapping[str, Sequence[ConceptResult]], layers: Sequence[str]) -> dict[str, xr.DataArray]:
    """All arrays of the network itself, from the results of each concept at each layer."""
    numbers = [[result.numbers() for result in row] for row in rows.values()]
    values = {name: np.array([[each[name] for each in row] for row in numbers]) for name in numbers[0][0]}
    values["p_adjusted"] = holm_adjust(values["p"])
    coords = {"concept": list(rows), "layer": list(layers)}
    arrays = {name: array(values[name], DIMS, unit, coords, title) for name, (unit, title) in TITLES.items()}
    words = np.array(judge_concepts(values), dtype=object)
    return arrays | {"verdict": array(words, DIMS, "text", coords, "verdict")}


def judge_concepts(values: Mapping[str, Floats]) -> list[list[str]]:
    """The verdict on each concept at each layer.

    None where the concept vector is no better than those of random concepts, or the random concepts do not vary.
    """

    def judge(at: tuple[int, ...]) -> str:
        if not values["accuracy_p"][at] <= ALPHA or np.isnan(values["p_adjusted"][at]):
            # random vectors that are all equally accurate still leave a better one better
            better = np.isnan(values["accuracy_p"][at]) and values["accuracy"][at] > values["random_accuracy"][at]
            if not better or np.isnan(values["p_adjusted"][at]):
                return NO_VERDICT
        side = np.sign(values["alignment"][at] - values["random_alignment"][at])
        agrees = side * (values["score"][at] - values["random_score"][at]) >= 0
        if values["p_adjusted"][at] > ALPHA or not agrees:
            return ALIKE
        return ABOVE if side > 0 else BELOW

    shape = values["score"].shape
    return [[judge((row, col)) for col in range(shape[1])] for row in range(shape[0])]


def twin_arrays(rows: Mapping[str, Sequence[ConceptScores]], layers: Sequence[str]) -> dict[str, xr.DataArray]:
    """The mean scores of one untrained twin."""
    coords = {"concept": list(rows), "layer": list(layers)}
    units = {"score": FRACTION, "alignment": "cosine", "accuracy": FRACTION}
    return {
        f"twin_{name}": array(
            [[float(getattr(each, name).mean()) for each in row] for row in rows.values()],
            DIMS,
            unit,
            coords,
            "untrained twins",
        )
        for name, unit in units.items()
    }
