"""Claims that compare families over images: paired differences of the same images, held together within a hypothesis."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from microtome.analyses.traits.claims import ACCURACY, IMAGE_CLAIMS, ImageClaim, Judgement, Values
from microtome.analyses.traits.material import Study, family_mean
from microtome.numerics.statistics.intervals import MIN_DIFFERENT, MIN_VALUES, UNKNOWN_INTERVAL, Interval, mean_interval
from microtome.numerics.statistics.proportions import bounded_mean_interval
from microtome.numerics.statistics.trends import loss_difference, slope_interval
from microtome.prose import plural

LEVEL = 0.95
POINTS = 100.0
UNITS = {"slope": "points per doubling of the area", "loss": "points lost from the plain to the cluttered third"}
EVERY_IMAGE = "over all images, since it is not known which are classified correctly"


class Borders(NamedTuple):
    """Largest area of a small object and smallest area of a large one, as fractions of the image; seed of the bootstrap."""

    small: float
    large: float
    seed: int


def judge_families(study: Study, borders: Borders) -> list[Judgement]:
    """The claims of H1 to H3 between families; each hypothesis keeps 95% over all of its claims that can be measured."""
    judgements: list[Judgement] = []
    for code in dict.fromkeys(claim.hypothesis for claim in IMAGE_CLAIMS):
        claims = [claim for claim in IMAGE_CLAIMS if claim.hypothesis == code]
        groups = [(_names(study, claim.first), _names(study, claim.second)) for claim in claims]
        judgements += _judge_together(study, claims, groups, borders, families=True)
    return judgements


def judge_pairs(study: Study, borders: Borders) -> list[Judgement]:
    """The same claims between single networks; each claim keeps 95% over all of its pairs."""
    judgements: list[Judgement] = []
    for claim in IMAGE_CLAIMS:
        pairs = list(product(_names(study, claim.first), _names(study, claim.second)))
        groups = [([first], [second]) for first, second in pairs]
        judgements += _judge_together(study, [claim] * len(pairs), groups, borders, families=False)
    return judgements


def compare_columns(
    claim: ImageClaim, first: Values, second: Values, chosen: Values, study: Study, level: float, seed: int
) -> Interval:
    """How much more of the claim's measure `first` has than `second` on the chosen images, as fractions."""
    difference = np.where(chosen, first - second, np.nan)
    if claim.where == "slope":
        return slope_interval(difference, np.log2(study.area), MIN_VALUES, seed, level)
    if claim.where == "loss":
        return loss_difference(np.where(chosen, first, np.nan), second, *_outer_thirds(study), seed=seed, level=level)
    if claim.measure == ACCURACY:
        return bounded_mean_interval(difference, -1.0, 1.0, seed=seed, level=level)
    return mean_interval(difference, seed=seed, level=level)


def _names(study: Study, family: str) -> list[str]:
    return [network.name for network in study.members(family) if network.name in study.columns]


def _judge_together(
    study: Study, claims: Sequence[ImageClaim], groups: Sequence[tuple[list[str], list[str]]], borders: Borders, families: bool
) -> list[Judgement]:
    """These claims between these networks, at the level that holds those of them together which can be measured."""
    blanks = [_blank(study, claim, group, borders, families) for claim, group in zip(claims, groups, strict=True)]
    held = sum(not blank.reason for blank, _ in blanks)
    level = 1 - (1 - LEVEL) / max(held, 1)
    judgements: list[Judgement] = []
    for claim, group, (blank, chosen) in zip(claims, groups, blanks, strict=True):
        if blank.reason:
            judgements.append(blank)
            continue
        first, second = (family_mean(study, names, claim.measure) for names in group)
        interval = compare_columns(claim, first, second, chosen, study, level, borders.seed)
        judgements.append(
            blank._replace(
                interval=Interval(*(POINTS * end for end in interval)), reason=_unknown(interval, first - second, chosen)
            )
        )
    return judgements


def _blank(
    study: Study, claim: ImageClaim, group: tuple[list[str], list[str]], borders: Borders, families: bool
) -> tuple[Judgement, Values]:
    """The claim without its effect, and the images (image,) that decide it."""
    first, second = (claim.first, claim.second) if families else (group[0][0], group[1][0])
    judgement = Judgement(
        claim.hypothesis, claim.quantity, first, second, claim.expected, UNITS.get(claim.where, "points"), "objects", UNKNOWN_INTERVAL,
        better=claim.better, models=study.models(claim.first, claim.second) if families else "1 against 1",
    )  # fmt: skip
    nothing = np.zeros(len(study.area), dtype=bool)
    names = [*group[0], *group[1]]
    if reason := study.lacking(claim.first, claim.second) or study.refusal:
        return judgement._replace(reason=reason), nothing
    if not group[0] or not group[1]:
        return judgement._replace(reason="objects was not measured for one of the families"), nothing
    if any(claim.measure not in study.columns[name] for name in names):
        return judgement._replace(reason="the findings of objects are of an older version without this measure"), nothing
    chosen, remark = _chosen_images(study, claim, names, borders)
    judgement = judgement._replace(samples=int(chosen.sum()), evidence=f"objects{remark}")
    if claim.measure == ACCURACY and not chosen.any():
        return judgement._replace(reason="it is not known which answers are right"), nothing
    if chosen.sum() < MIN_VALUES:
        reason = f"{_subject(claim, borders)}: {int(chosen.sum())}, and {MIN_VALUES} are needed"
        return judgement._replace(reason=reason), nothing
    return judgement, chosen


def _chosen_images(study: Study, claim: ImageClaim, names: Sequence[str], borders: Borders) -> tuple[Values, str]:
    """The images that decide the claim, and a remark on them."""
    chosen = np.isfinite(family_mean(study, names, claim.measure)) & np.isfinite(study.area)
    remark = ""
    if claim.hypothesis == "H1":
        answers = family_mean(study, names, ACCURACY)
        if np.isfinite(answers).any():
            chosen &= answers == 1
        else:
            remark = f", {EVERY_IMAGE}"
    if claim.where == "small":
        chosen &= study.area < borders.small
    if claim.where == "large":
        chosen &= study.area >= borders.large
    if claim.where == "loss":
        chosen &= np.logical_or(*_outer_thirds(study))
    return chosen, remark


def _outer_thirds(study: Study) -> tuple[Values, Values]:
    """The third of the images with the least clutter around the object, and that with the most."""
    return study.clutter_rank <= 1 / 3, study.clutter_rank >= 2 / 3


def _subject(claim: ImageClaim, borders: Borders) -> str:
    """What the images of a claim are called."""
    if claim.where == "small":
        return f"images with an object below {borders.small:.0%} of the area"
    if claim.where == "large":
        return f"images with an object of {borders.large:.0%} of the area or more"
    return "images that all of these networks classify correctly" if claim.hypothesis == "H1" else "images of these networks"


def _unknown(interval: Interval, difference: Values, chosen: Values) -> str:
    """Why an interval has no bounds; empty where it has."""
    if np.isfinite([interval.low, interval.high]).all():
        return ""
    if not np.isfinite(interval.value):
        return "a mean of the plain images is not positive, or too few images are on either side"
    known = difference[chosen & np.isfinite(difference)]
    differing = len(known) - int(np.unique(known, return_counts=True)[1].max()) if len(known) else 0
    return (
        f"the networks differ on {differing} of {plural(len(known), 'image')}, and {MIN_DIFFERENT} are needed for an interval"
    )
