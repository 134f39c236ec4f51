"""The four observations of the DenseNet paper as words and numbers, and whether each holds."""

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

import numpy as np

from microtome.finding import array
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.statistics.twins import twin_range
from microtome.numerics.weights.dense_reuse import Observations

OBSERVATIONS = (
    "1. layers use all earlier ones of their block",
    "2. transitions use the whole preceding block",
    "3. layers of later blocks read the transition's output least",
    "4. the classifier reads late layers most",
)
SPREAD_EVENNESS = 0.5  # of its sources, by entropy: a layer that uses more uses all of them (observations 1 and 2)
CONSISTENT_FRACTION = 2 / 3  # of the layers: "consistently" in observation 3
HOLDS, HOLDS_IN_BOTH = "holds", "holds, also in untrained twins"
MAX_P = 0.05  # p of the rank correlation in observation 4


def observation_arrays(own: Observations, effective: Observations, twins: Sequence[Observations]) -> dict[str, Any]:
    """The observations as words and numbers: as stored, times |γ|, in untrained twins. One twin in which one holds is enough."""
    names = {"criterion": list(OBSERVATIONS)}
    holds = [_observations_hold(twin) for twin in twins] or [[False] * len(OBSERVATIONS)]
    untrained = [any(each) for each in zip(*holds, strict=True)]
    counts = [sum(bool(hold) for hold in each) for each in zip(*holds, strict=True)]
    texts_of_first = _observation_texts(twins[0]) if twins else ["–"] * len(OBSERVATIONS)
    of_twins = [_observation_numbers(twin) for twin in twins] or [[nan] * len(OBSERVATIONS)]
    numbers = {"measured": _observation_numbers(own), "measured_effective": _observation_numbers(effective),
               "measured_untrained": twin_range(np.array(of_twins)).mean}  # fmt: skip
    texts = {
        "verdict": ("as stored", _verdict_texts(_observations_hold(own), untrained)),
        "seen": ("measured", _observation_texts(own)),
        "verdict_effective": ("with |γ|", _verdict_texts(_observations_hold(effective), untrained)),
        "seen_effective": ("measured with |γ|", _observation_texts(effective)),
        "untrained": (
            "untrained twins",
            [
                text if text == "–" else f"holds in {count} of {len(twins)}; the first: {text}"
                for count, text in zip(counts, texts_of_first, strict=True)
            ],
        ),
    }
    arrays = {name: array(values, ("criterion",), "text", names, title) for name, (title, values) in texts.items()}
    return arrays | {name: array(values, ("criterion",), "1", names) for name, values in numbers.items()}


def _observation_numbers(observations: Observations) -> list[float]:
    least = observations.least / observations.layers if observations.layers else nan
    return [observations.evenness, observations.transitions, least, observations.lean.ratio]


def _observations_hold(observations: Observations) -> list[bool | None]:
    """Whether each observation holds; None where the network has nothing that it could apply to."""
    even, across, least, late = _observation_numbers(observations)
    return [
        None if isnan(even) else even > SPREAD_EVENNESS,
        None if isnan(across) else across > SPREAD_EVENNESS,
        None if isnan(least) else least >= CONSISTENT_FRACTION,
        None if isnan(late) else observations.lean.p < MAX_P and late > 1,
    ]


def _verdict_texts(own: Sequence[bool | None], untrained: Sequence[bool | None]) -> list[str]:
    return [
        "does not apply" if holds is None else (HOLDS_IN_BOTH if twin else HOLDS) if holds else "does not hold"
        for holds, twin in zip(own, untrained, strict=True)
    ]


def _observation_texts(observations: Observations) -> list[str]:
    """The numbers behind each observation in words; a dash where it does not apply."""
    even, across, least, late = _observation_numbers(observations)
    lean = observations.lean
    trend = "no trend" if isnan(lean.p) else f"rank correlation {format_value(lean.correlation)}, p = {format_value(lean.p)}"
    texts = [
        f"{format_value(even, FRACTION)} of the sources; weight on the least read over the mean "
        f"{format_value(observations.faint)} (medians)",
        f"{format_value(across, FRACTION)} of the sources; weight on the least read over the mean "
        f"{format_value(observations.transitions_faint)} (smallest)",
        f"{observations.least} of {observations.layers} layers; weight over the mean of the others {format_value(observations.ratio)}",
        f"late third over early third {format_value(late)}; {trend}",
    ]
    return ["–" if isnan(value) else text for value, text in zip((even, across, least, late), texts, strict=True)]
