"""Which network to recommend: a cheaper one only where it is shown to be at most a margin less accurate."""

from typing import Any, NamedTuple

import numpy as np

from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.statistics.equivalence import PairedComparison

EQUAL_COST_RATIO = 1.25  # costs within a quarter count as equal: latencies differ by that from run to run
Values = np.ndarray[Any, Any]


class Decision(NamedTuple):
    """Ranks (NaN for networks that were not judged), the chosen name or "", the reason as one sentence, and who is most accurate.

    `best` counts among the judged networks; of equally accurate ones it is the cheapest. None where nothing was compared.
    """

    rank: Values
    choice: str
    reason: str
    best: int | None = None


def decide(
    names: list[str], judged: Values, paired: PairedComparison | None, price: Values, trained: Values, margin: float
) -> Decision:
    """The recommendation among the networks at the indices `judged`, whose answers `paired` compares."""
    rank = np.full(len(names), np.nan)
    if not trained.any():
        return Decision(rank, "", "No recommendation: 0 of these networks are trained.")
    if paired is None or not paired.images:
        return Decision(rank, "", "No recommendation: 0 networks have an accuracy or a probe above chance on labelled images.")
    cost = np.nan_to_num(price[judged], nan=np.inf)
    best = int(np.lexsort((cost, -paired.accuracy))[0])
    shown = paired.within(margin) & (cost <= cost[best])
    shown[best] = True
    near = shown & (cost <= EQUAL_COST_RATIO * cost[shown].min())
    order = np.lexsort((-paired.accuracy, ~near, ~shown))
    rank[judged[order]] = np.arange(1, len(order) + 1)
    if len(judged) < 2:
        return Decision(
            rank, "", f"No recommendation: only 1 network could be judged, {names[judged[0]]}; a choice needs two.", best
        )
    first = int(order[0])
    reason = _reason([names[place] for place in judged], paired, cost, first, best, margin)
    return Decision(rank, names[judged[first]], reason, best)


def _reason(names: list[str], paired: PairedComparison, cost: Values, first: int, best: int, margin: float) -> str:
    """One sentence with the accuracy, the number of images, and what was shown."""
    accuracy = f"{format_value(float(paired.accuracy[first]), FRACTION)} on {paired.images} images"
    if first != best:
        loss = format_value(float(paired.high[first, best]), FRACTION)
        return f"Choose {names[first]}: {accuracy}, cheaper and at most {loss} less accurate than {names[best]}."
    cheaper = cost * EQUAL_COST_RATIO < cost[best]
    rivals = np.flatnonzero(cheaper & ~(paired.low[:, best] > 0))
    if len(rivals):
        rival = int(rivals[np.argmin(paired.loss[rivals, best])])
        needed = paired.images_to_decide(rival, best, margin)
        more = f"about {needed:,} images would decide" if needed else "no number of images decides on the margin"
        return f"Not enough evidence for a cheaper network than {names[best]} ({accuracy}); for {names[rival]}, {more}."
    if cheaper.any():
        return f"Choose {names[best]}: {accuracy}, significantly more accurate than every cheaper network."
    return f"Choose {names[best]}: {accuracy}, the most accurate, and none is more than a quarter cheaper."
