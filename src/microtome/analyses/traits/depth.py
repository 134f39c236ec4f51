"""H4: what changes with depth. The study shows it in figures and makes no claim that a number decides, so there is no verdict."""

from typing import Any

import numpy as np

from microtome.analyses.traits.claims import Judgement
from microtome.analyses.traits.image_claims import POINTS
from microtome.analyses.traits.material import Study
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.proportions import bounded_mean_interval

NO_CLAIM = "the study shows figures and makes no claim that a number could decide; the effect is a description"
QUANTITY = "probe accuracy gained from the first to the last probed layer"
CONVOLUTIONS = ("deeper", "wider")


def describe_depth(study: Study) -> list[Judgement]:
    """How much more probe accuracy networks without attention gain with depth than those with it, over the images of both."""
    blank = Judgement(
        "H4", QUANTITY, " and ".join(CONVOLUTIONS), "attention", 0, "points", "probe", reason=NO_CLAIM, better=0,
        models=study.models(*CONVOLUTIONS, "attention"),
    )  # fmt: skip
    gains = [
        [gain for family in side if (gain := _gains(study, family)) is not None] for side in (CONVOLUTIONS, ("attention",))
    ]
    if not all(gains):
        return [blank]
    rows = [np.concatenate(side) for side in gains]
    if len({row.shape[1] for row in rows}) > 1:
        return [blank._replace(reason=f"{NO_CLAIM}; the probes saw different images")]
    difference = rows[0].mean(axis=0) - rows[1].mean(axis=0)
    interval = bounded_mean_interval(difference, -2.0, 2.0)
    known = int(np.isfinite(difference).sum())
    return [blank._replace(interval=Interval(*(POINTS * end for end in interval)), samples=known)]


def _gains(study: Study, family: str) -> np.ndarray[Any, Any] | None:
    """Last minus first probed layer, right 1 or wrong 0, of each network of a family (network, image); None where none was probed."""
    findings = [network.findings["probe"] for network in study.members(family) if "probe" in network.findings]
    rows = [finding["correct"].values[-1].astype(np.float64) - finding["correct"].values[0] for finding in findings]
    return np.stack(rows) if rows and len({len(row) for row in rows}) == 1 else None
