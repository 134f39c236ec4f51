"""What removing blocks showed of the cheap measures that predict it: rank correlations with the measured loss, over several networks.

`removal_evidence.json` is written by `python -m benchmarks slimming` from findings of `slimming`.
"""

import json
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from microtome.key_numbers import format_interval

EVIDENCE = Path(__file__).with_suffix(".json")


@lru_cache(maxsize=1)
def removal_evidence() -> dict[str, Any]:
    """Predictor -> mean correlation, its interval over networks, and how many networks; empty where nothing was measured."""
    return json.loads(EVIDENCE.read_text(encoding="utf-8")) if EVIDENCE.exists() else {}


def trust_sentence(predictor: str) -> str:
    """How far a predictor agreed with measured losses, in one sentence; empty where that was not measured."""
    own = removal_evidence().get("predictors", {}).get(predictor)
    if not own or not isfinite(own["mean"]):
        return ""
    known = isfinite(own["low"])
    number = format_interval(own["mean"], own["low"], own["high"]) if known else f"{own['mean']:.2f}, interval unknown"
    judged = (
        "it predicts the loss"
        if known and own["low"] > 0
        else "it is not shown to predict the loss"
        if known
        else "too few to judge"
    )
    return (
        f"Over {own['networks']} networks whose blocks were removed one by one (docs/slim.md), the rank correlation of {predictor} "
        f"with the loss of accuracy was {number} on average: {judged}."
    )
