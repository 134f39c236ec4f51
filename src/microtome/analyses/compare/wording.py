"""The sentences of `compare` about limits, preferences, domination and what the evidence is worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microtome.analyses.compare.decision import Decision, label_more
from microtome.analyses.compare.domination import DominatedPair, describe_domination
from microtome.analyses.compare.limits import KEPT, MISSED, UNDECIDED, UNMEASURED, LimitJudgement, nearest_network
from microtome.analyses.compare.named_criteria import ACCURACY, CriterionColumn, criterion_title, how_to_measure
from microtome.analyses.compare.prior import Prior
from microtome.analyses.compare.weighing import UtilityGap, Weighing, utility_gap
from microtome.finding import Finding
from microtome.key_numbers import FRACTION, format_interval, format_value
from microtome.numerics.statistics.equivalence import PairedComparison
from microtome.numerics.statistics.proportions import proportion_interval
from microtome.numerics.statistics.weight_regions import WeightRegion
from microtome.prose import agree, name_list, plural

Values = np.ndarray[Any, Any]
MOST_IMAGES = 10_000_000  # more are not named


def nobody_within(
    judgements: Sequence[LimitJudgement], candidates: Values, names: Sequence[str], images: int, classes: int
) -> str:
    """The reason where no network is shown to keep all limits: which one comes nearest, by how much."""
    nearest = nearest_network(judgements, candidates)
    if nearest is None:
        lacking = next(each for each in judgements if (each.verdicts[candidates] == UNMEASURED).any())
        return f"No recommendation: no network has all the limits measured, {lacking.limit.criterion.name} among them."
    network, judgement = nearest
    if judgement.verdicts[network] == MISSED:
        above = "above" if judgement.limit.upper else "below"
        gap = format_value(float(judgement.excess()[network]), FRACTION)
        return f"No network keeps all limits; {names[network]} misses least: {judgement.text(network)} ({gap} {above})."
    value = format_value(float(judgement.values[network]), judgement.unit)
    bound = f"{judgement.limit.criterion.name} {format_value(judgement.limit.bound, judgement.unit)}"
    if judgement.limit.criterion.name == ACCURACY and (needed := images_for_limit(judgement, network, images)):
        return f"No network is shown to keep {bound}; for {names[network]} ({value}), {label_more(needed, images, classes)}."
    more = "more timed runs would tell" if judgement.limit.criterion.name != ACCURACY else "it lies on the limit"
    return f"No network is shown to keep {bound}; for {names[network]} ({value}), {more}."


def images_for_limit(judgement: LimitJudgement, network: int, images: int) -> int | None:
    """About how many images would show on which side of the limit an accuracy lies; None where it lies on the limit."""
    value, bound = float(judgement.values[network]), judgement.limit.bound
    if not images or abs(value - bound) < 1e-9:
        return None
    count = images + 1
    while count < MOST_IMAGES:  # the exact interval of so many images at the same accuracy
        interval = proportion_interval(round(count * value), count, _level_of(judgement))
        if interval.low >= bound or interval.high < bound:
            return count
        count = int(count * 1.01) + 1
    return None


def _level_of(judgement: LimitJudgement) -> float:
    """The level of each interval, so that all together hold 95%."""
    return 1 - 0.05 / max(1, int((judgement.verdicts != UNMEASURED).sum()))


def limit_cells(judgement: LimitJudgement, images: int) -> list[str]:
    """How each network stands to a limit, with the interval that says so."""
    cells: list[str] = []
    for verdict, value, low, high in zip(judgement.verdicts, judgement.values, judgement.low, judgement.high, strict=True):
        text = format_value(value, judgement.unit) if low == high else format_interval(value, low, high, judgement.unit)
        doubt = f"cannot be told on {plural(images, 'image')}" if judgement.limit.criterion.name == ACCURACY else UNDECIDED
        cells.append(UNMEASURED if verdict == UNMEASURED else f"{doubt if verdict == UNDECIDED else verdict}: {text}")
    return cells


def limit_title(judgement: LimitJudgement) -> str:
    """The limit as the head of a column: `latency ≤ 20 ms`."""
    sign = "≤" if judgement.limit.upper else "≥"
    return f"{judgement.limit.criterion.name} {sign} {format_value(judgement.limit.bound, judgement.unit)}"


def limit_lines(judgements: Sequence[LimitJudgement], names: Sequence[str], images: int) -> list[str]:
    """One sentence for each limit that some network does not keep."""
    lines: list[str] = []
    for each in judgements:
        cells = limit_cells(each, images)
        out = [f"{names[k]} ({cells[k]})" for k in range(len(names)) if each.verdicts[k] != KEPT]
        if out:
            lines.append(f"Limit {limit_title(each)}, not kept or not shown: {name_list(out, 4)}.")
        if each.limit.criterion.name != ACCURACY and (each.verdicts == UNMEASURED).all():
            lines[-1] = f"Limit {limit_title(each)}: no network has it; measure it: {how_to_measure(each.limit.criterion)}."
    return lines


def only_network(name: str, accuracy: float, images: int, measure: str) -> str:
    """The reason where one network alone keeps all limits."""
    text = f"{measure}{format_value(accuracy, FRACTION)} on {plural(images, 'image')}"
    return f"Choose {name}: the only network shown to keep all limits, {text}."


def decide_by_weights(
    names: Sequence[str], judged: Values, weighing: Weighing, paired: PairedComparison | None, count: int, classes: int
) -> Decision:
    """The network with the largest weighted sum, and whether the images show that it is larger than every other's."""
    rank = np.full(count, np.nan)
    totals = weighing.totals
    order = np.argsort(-totals, kind="stable")
    rank[judged[order]] = np.arange(1, len(order) + 1)
    best = int(np.argmax(paired.accuracy)) if paired is not None and paired.images else None
    first, second = int(order[0]), int(order[1])
    gaps = {int(other): utility_gap(weighing, first, int(other), paired) for other in order[1:]}
    winner, own = str(names[int(judged[first])]), format_value(float(totals[first]))
    doubtful = [other for other, gap in gaps.items() if not gap.gap.low > 0]
    if not doubtful:
        rival = f"{names[int(judged[second])]} ({format_value(float(totals[second]))})"
        return Decision(rank, winner, f"Choose {winner} by your weights: utility {own}, significantly above {rival}.", best)
    other = doubtful[0]
    images = paired.images if paired is not None else 0
    needed = gaps[other].images_needed(images)
    more = label_more(needed, images, classes) if needed else _other_evidence(weighing, gaps[other])
    rival = f"{names[int(judged[other])]} ({format_value(float(totals[other]))})"
    return Decision(
        rank, winner, f"Not enough evidence between {winner} (utility {own}) and {rival}: {more}.", best, enough=False
    )


def _other_evidence(weighing: Weighing, gap: UtilityGap) -> str:
    """What would decide where more images of the accuracy do not."""
    if gap.gap.value < 1e-9:
        return "they are equal by your weights"
    if not next(column for column in weighing.columns if column.name == gap.least_certain).of_images:
        return f"{gap.least_certain} needs more timed runs"
    uncertain = [column.name for column in weighing.columns if column.of_images and gap.below[column.name] > 0]
    return f"{' and '.join(uncertain)} {agree(len(uncertain), 'needs', 'need')} more images"


def lacking_criteria(columns: Sequence[CriterionColumn]) -> str:
    """The reason where a weighted criterion was measured for no network or for one alone."""
    lacking = next(column for column in columns if (~np.isnan(column.values)).sum() < 2)
    return (
        f"No recommendation by your weights: {lacking.name} is known for no two networks; {how_to_measure(lacking.criterion)}."
    )


def weight_lines(
    weighing: Weighing, regions: Mapping[str, Sequence[WeightRegion]], winners: Sequence[str], stays: float
) -> list[str]:
    """What the weights are, in which part of each the recommendation stays, and how often it stays in bootstrap samples."""
    pairs = zip(weighing.names, weighing.weights, strict=True)
    shown = ", ".join(f"{name} {format_value(float(weight), FRACTION)}" for name, weight in pairs)
    lines = [
        f"Weights: {shown}; each criterion is scaled from 0 for the worst to 1 for the best of these networks, so another network can "
        "change it."
    ]
    first = int(np.argmax(weighing.totals))
    if always := [name for name, own in regions.items() if len(own) == 1]:
        lines.append(f"{winners[first]} stays first at every weight of {name_list(always, 6)}.")
    for place, (name, own) in enumerate(regions.items()):
        inside = [region for region in own if region.winner == first]
        span = next(
            (r for r in inside if r.start - 1e-9 <= weighing.weights[place] <= r.end + 1e-9), inside[0] if inside else None
        )
        if span is not None and len(own) > 1:
            rivals = name_list([f"{winners[r.winner]} from {region_text(r)}" for r in own if r is not span], 3)
            lines.append(f"{winners[first]} stays first while {name} weighs {region_text(span)}; {rivals}.")
    if not np.isnan(stays):
        lines.append(
            f"{winners[first]} is first by your weights in {format_value(stays, FRACTION)} of bootstrap samples of the images."
        )
    if unknown := [c.name for c in weighing.columns if not c.exact and np.isnan(c.low).any()]:
        lines.append(f"Taken as exact, having no interval: {name_list(unknown, 6)}.")
    return lines


def region_text(region: WeightRegion) -> str:
    """A region of weights: `31.9% to 100%`."""
    return f"{format_value(region.start, FRACTION)} to {format_value(region.end, FRACTION)}"


def domination_line(pairs: Sequence[DominatedPair], names: Sequence[str], criteria: Sequence[str]) -> list[str]:
    """Who is dominated by whom; nothing where nobody is."""
    losers = list(dict.fromkeys(pair.candidate for pair in pairs))
    if not losers:
        return []
    texts = [f"{names[loser]} by {describe_domination(loser, pairs, names)}" for loser in losers]
    on = name_list([criterion_title(name) for name in criteria], 6)
    return [f"Dominated on {on}: {'; '.join(texts[:6])}{' …' if len(texts) > 6 else ''}."]


def prior_lines(prior: Prior | None) -> list[str]:
    """Where the prior columns come from."""
    if prior is None:
        return []
    lines = [f"Columns with '(prior)' are published results from {prior.source}, on other images; they were not measured here."]
    if not prior.columns:
        lines = [f"The prior {prior.source} names none of these networks."]
    if prior.ambiguous:
        lines.append(f"Not joined, since several rows of {prior.source} could be meant: {name_list(prior.ambiguous, 4)}.")
    return lines


def no_evidence(byname: Mapping[str, Mapping[str, Finding]]) -> str:
    """Why no accuracy can be compared, from the images of the findings."""
    start = "No recommendation:"
    images = [finding.origin.get("images") or {} for own in byname.values() for finding in own.values()]
    known = next((each for each in images if each), None)
    if known is None or "classes" not in known:
        return f"{start} no network has an accuracy or a probe above chance on labelled images."
    classes = known["classes"]
    if not classes:
        return f"{start} the images have no labels; only cost and what needs none were compared."
    if len(classes) == 1:
        return f"{start} all images are of one class, {classes[0]}; accuracy needs two or more."
    if known.get("count", 0) < 2 * len(classes):
        return f"{start} {known['count']} images of {len(classes)} classes are too few; label two or more per class."
    return f"{start} no network has an accuracy or a probe above chance on labelled images."
