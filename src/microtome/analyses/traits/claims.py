"""The hypotheses and their claims, with the direction each expects, and the verdict that an interval gives."""

from typing import Any, Literal, NamedTuple

import numpy as np

from microtome.numerics.statistics.intervals import UNKNOWN_INTERVAL, Interval

SUPPORTS, CONTRADICTS, NOT_SIGNIFICANT, NOT_MEASURABLE = "supports", "contradicts", "not significant", "not measurable"
VERDICT_WORDS = (SUPPORTS, CONTRADICTS, NOT_SIGNIFICANT, NOT_MEASURABLE)
HYPOTHESES = {
    "H1": "deeper networks focus on the principal part, wider ones cover more",
    "H2": "deeper networks suit small objects, wider ones large objects; attention is worst for small objects",
    "H3": "attention networks are robust to complex backgrounds",
    "H4": "with depth, convolutions cluster and attention screens",
    "H5": "the weights of the last three layers are nearly equal in deeper and attention networks, different in wider ones",
    "H6": "the features of the last three layers are nearly equal in deeper and attention networks, different in wider ones",
    "H7": "the penultimate block of deeper and attention networks can be removed",
    "H8": "wider networks cannot be made smaller by removing a block",
}
Where = Literal["all", "small", "large", "slope", "loss"]
Values = np.ndarray[Any, Any]


class ImageClaim(NamedTuple):
    """A claim that one family has more (`expected` 1) of a measure than another, over images they share.

    `better` says whether more of it is better (1), worse (-1) or neither (0).
    """

    hypothesis: str
    measure: str
    where: Where
    first: str
    second: str
    expected: int
    quantity: str
    better: int


class TwinClaim(NamedTuple):
    """A claim that the last layers of a family change more (1) or less (-1) than those of its twins, or than another family does."""

    hypothesis: str
    measure: str
    first: str
    second: str  # empty: its own twins
    expected: int
    quantity: str


class Judgement(NamedTuple):
    """One claim with its effect, the interval, how many images or twins it rests on, and why it could not be measured."""

    hypothesis: str
    quantity: str
    first: str
    second: str
    expected: int
    unit: str
    evidence: str
    interval: Interval = UNKNOWN_INTERVAL
    samples: int = 0
    reason: str = ""
    null: float = 0.0  # the effect where there is no difference: 1 for ratios
    better: int = 0
    models: str = ""
    reference: str = "its untrained twins"  # what `first` is compared with where there is no `second`

    @property
    def statement(self) -> str:
        """The claim in words."""
        other = f"in {self.second}" if self.second else self.reference
        if not self.expected:
            return f"{self.hypothesis}: {self.quantity}, in {self.first} against {other.removeprefix('in ')}"
        return f"{self.hypothesis}: {self.quantity}, {'more' if self.expected > 0 else 'less'} in {self.first} than {other}"

    @property
    def verdict(self) -> str:
        """What the interval says of the claim."""
        return verdict_of(self)


LIFT, ACCURACY, COVERAGE, LARGER_COVERAGE = "lift", "correct", "coverage50", "coverage90"
MEASURE_NAMES = {LIFT: "localisation lift", ACCURACY: "accuracy"}


def _by_size() -> list[ImageClaim]:
    """The claims of H2, those on the map before those on the answers, the trend first."""
    contrasts: tuple[tuple[Where, str, str, str], ...] = (
        ("slope", "wider", "deeper", "gain with object size"),
        ("small", "deeper", "wider", "on small objects"),
        ("large", "wider", "deeper", "on large objects"),
        ("small", "deeper", "attention", "on small objects"),
        ("small", "wider", "attention", "on small objects"),
    )
    return [
        ImageClaim("H2", measure, where, first, second, 1, f"{MEASURE_NAMES[measure]} {text}", 0 if where == "slope" else 1)
        for measure in (LIFT, ACCURACY)
        for where, first, second, text in contrasts
    ]


IMAGE_CLAIMS: tuple[ImageClaim, ...] = (
    ImageClaim("H1", COVERAGE, "all", "wider", "deeper", 1, "area of half the evidence", 0),
    ImageClaim("H1", LARGER_COVERAGE, "all", "wider", "deeper", 1, "area of 90% of the evidence", 0),
    *_by_size(),
    ImageClaim("H3", ACCURACY, "loss", "deeper", "attention", 1, "accuracy lost to clutter", -1),
    ImageClaim("H3", ACCURACY, "loss", "wider", "attention", 1, "accuracy lost to clutter", -1),
    ImageClaim("H3", LIFT, "loss", "deeper", "attention", 1, "localisation lift lost to clutter", -1),
    ImageClaim("H3", LIFT, "loss", "wider", "attention", 1, "localisation lift lost to clutter", -1),
)


def _of_last_layers(hypothesis: str, measure: str, quantity: str) -> list[TwinClaim]:
    alone = [TwinClaim(hypothesis, measure, family, "", expected, quantity)
             for family, expected in (("deeper", -1), ("attention", -1), ("wider", 1))]  # fmt: skip
    return [TwinClaim(hypothesis, measure, "wider", family, 1, quantity) for family in ("deeper", "attention")] + alone


TWIN_CLAIMS: tuple[TwinClaim, ...] = (
    *_of_last_layers("H5", "weights", "distance between the weights of the last three layers"),
    *_of_last_layers("H6", "similarity", "change of the features in the last three layers, 1 - CKA"),
    *_of_last_layers("H6", "redundancy", "block influence of the last three blocks"),
)


def verdict_of(judgement: Judgement) -> str:
    """One of `VERDICT_WORDS`: the interval lies beyond the null on the expected side, on the other, holds it, or is not known."""
    low, high = judgement.interval.low - judgement.null, judgement.interval.high - judgement.null
    if judgement.reason or not judgement.expected or not np.isfinite([low, high]).all():
        return NOT_MEASURABLE
    side = 1 if low > 0 else -1 if high < 0 else 0
    return NOT_SIGNIFICANT if not side else SUPPORTS if side == judgement.expected else CONTRADICTS


def leading_claim(judgements: list[Judgement]) -> Judgement:
    """The first claim of a hypothesis that could be measured, in the order of the lists above; else the first of all."""
    return next((each for each in judgements if each.verdict != NOT_MEASURABLE), judgements[0])
