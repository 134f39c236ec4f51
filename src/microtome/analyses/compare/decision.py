"""Which network to recommend: a cheaper one only where it is shown to be at most a margin less accurate."""

from math import ceil
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare.prices import CLEARLY_CHEAPER, Prices
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.statistics.equivalence import PairedComparison

Values = np.ndarray[Any, Any]


class Decision(NamedTuple):
    """Ranks (NaN for networks that were not judged), the chosen name or "", the reason as one sentence, and who is most accurate.

    `best` counts among the judged networks; of equally accurate ones it is the cheapest. None where nothing was compared. Without
    `enough` evidence the chosen network is first, but not shown to be.
    """

    rank: Values
    choice: str
    reason: str
    best: int | None = None
    enough: bool = True


def decide(
    names: list[str],
    judged: Values,
    paired: PairedComparison | None,
    prices: Prices,
    trained: Values,
    margin: float,
    measure: str = "",
    classes: int = 0,
) -> Decision:
    """The recommendation among the networks at the indices `judged`, whose answers `paired` compares.

    `measure` says what kind of accuracy that is, in the sentence: "balanced " or nothing; `classes` is the number of classes of the
    images, 0 where unknown.
    """
    rank = np.full(len(names), np.nan)
    if not trained.any():
        return Decision(rank, "", "No recommendation: none of these networks is trained.")
    if paired is None or not paired.images:
        return Decision(rank, "", "No recommendation: no network has an accuracy or a probe above chance on labelled images.")
    known = prices.take(judged)
    best = _cheapest_of_the_best(paired.accuracy, known)
    shown, near = _candidates(paired, known, best, margin)
    order = np.lexsort((-paired.accuracy, ~near, ~shown))
    if near[best]:  # nobody costs clearly less, so the most accurate comes first, and of equal ones the cheapest
        order = np.array([best, *(place for place in order if place != best)])
    rank[judged[order]] = np.arange(1, len(order) + 1)
    if len(judged) < 2:
        return Decision(
            rank, "", f"No recommendation: only 1 network could be judged, {names[judged[0]]}; a choice needs two.", best
        )
    first = int(order[0])
    reason, enough = _reason([names[place] for place in judged], paired, known, first, best, margin, measure, classes)
    return Decision(rank, names[judged[first]], reason, best, enough)


def _cheapest_of_the_best(accuracy: Values, prices: Prices) -> int:
    """The most accurate network; of several the one that the fewest of them undercut, then by the exact costs."""
    equal = np.flatnonzero(accuracy == accuracy.max())
    undercut = prices.cheaper()[np.ix_(equal, equal)].sum(axis=0)
    exact = [np.nan_to_num(prices.exact[kind][equal], nan=np.inf) for kind in ("operations", "size")]
    return int(equal[np.lexsort((*exact, undercut))[0]])


def _candidates(paired: PairedComparison, prices: Prices, best: int, margin: float) -> tuple[Values, Values]:
    """Which networks may be recommended, and which of these cost about the least.

    Whatever is recommended instead of the most accurate one is cheaper than it: costs that differ by different kinds (latency for one
    pair, parameters for another) need not form an order.
    """
    cheaper, clearly = prices.cheaper(), prices.cheaper(CLEARLY_CHEAPER)
    shown = paired.within(margin) & ~cheaper[best]
    shown[best] = True
    near = shown & ~(clearly & shown[:, None]).any(axis=0)
    if not near[best]:
        undercuts = shown & clearly[:, best]
        near = near & cheaper[:, best] if (near & cheaper[:, best]).any() else undercuts
    return shown, near


def label_more(needed: int, images: int, classes: int) -> str:
    """What to do to have `needed` images of that many classes: `label about 12 more images per class`."""
    more = needed - images
    return f"label about {ceil(more / classes):,} more images per class" if classes > 1 else f"label about {more:,} more images"


def _reason(
    names: list[str],
    paired: PairedComparison,
    prices: Prices,
    first: int,
    best: int,
    margin: float,
    measure: str,
    classes: int,
) -> tuple[str, bool]:
    """One sentence with the accuracy, the number of images, and what was shown; and whether that is enough to recommend it."""
    accuracy = f"{measure}{format_value(float(paired.accuracy[first]), FRACTION)} on {paired.images} images"
    if first != best:
        loss = format_value(float(paired.high[first, best]), FRACTION)
        why = prices.difference(first, best).reason
        return f"Choose {names[first]}: {accuracy}, {why} and at most {loss} less accurate than {names[best]}.", True
    cheaper = prices.cheaper(CLEARLY_CHEAPER)[:, best]
    rivals = np.flatnonzero(cheaper & ~(paired.low[:, best] > 0))
    if len(rivals):
        rival = int(rivals[np.argmin(paired.loss[rivals, best])])
        needed = paired.images_to_decide(rival, best, margin)
        more = label_more(needed, paired.images, classes) if needed else "no number of images decides on the margin"
        return f"Not enough evidence between {names[best]} ({accuracy}) and cheaper {names[rival]}: {more}.", False
    if cheaper.any():
        return f"Choose {names[best]}: {accuracy}, significantly more accurate than every cheaper network.", True
    return f"Choose {names[best]}: {accuracy}, the most accurate, and none is clearly cheaper.", True
