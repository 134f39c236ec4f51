"""Strengths and weaknesses of each family in plain words, one line for each claim that concerns it, made from the verdicts alone."""

from collections.abc import Sequence
from typing import NamedTuple

from microtome.analyses.traits.claims import NOT_MEASURABLE, NOT_SIGNIFICANT, Judgement
from microtome.key_numbers import format_interval
from microtome.numerics.statistics.intervals import Interval

STRENGTH, WEAKNESS, TRAIT, UNDECIDED, UNKNOWN_KIND = "strength", "weakness", "trait", "undecided", "not measured"
KINDS = (STRENGTH, WEAKNESS, TRAIT, UNDECIDED, UNKNOWN_KIND)  # in the order of the table


class FamilyLine(NamedTuple):
    """What a claim says of a family: which kind of line it is, the sentence, and the hypothesis."""

    hypothesis: str
    kind: str
    sentence: str


def family_lines(judgements: Sequence[Judgement], family: str) -> list[FamilyLine]:
    """The lines on a family, strengths first."""
    lines = [line for each in judgements if (line := _line(each, family)) is not None]
    return sorted(lines, key=lambda line: KINDS.index(line.kind))


def effect_text(judgement: Judgement) -> str:
    """The effect with its interval and unit."""
    text = format_interval(*judgement.interval, "1")
    return f"{text} {judgement.unit}"


def _line(judgement: Judgement, family: str) -> FamilyLine | None:
    first, second = judgement.first, judgement.second
    if family not in (first, second):
        return None
    own = judgement if family == first else _mirror(judgement)
    rival = f"{second if family == first else first} networks" if second else judgement.reference.replace("its", "their")
    start = f"{own.quantity[:1].upper()}{own.quantity[1:]}"
    if judgement.verdict == NOT_MEASURABLE:
        return FamilyLine(judgement.hypothesis, UNKNOWN_KIND, f"{start}, against {rival}: {judgement.reason}.")
    text = f"{effect_text(own)}, 95% interval"
    if judgement.verdict == NOT_SIGNIFICANT:
        return FamilyLine(judgement.hypothesis, UNDECIDED, f"{start}: no significant difference from {rival} ({text}).")
    more = own.interval.value > own.null
    side = 1 if more else -1
    kind = TRAIT if not own.better else STRENGTH if own.better == side else WEAKNESS
    return FamilyLine(judgement.hypothesis, kind, f"{start}: {'higher' if more else 'lower'} than in {rival} ({text}).")


def _mirror(judgement: Judgement) -> Judgement:
    """The same claim seen from the second family."""
    value, low, high = judgement.interval
    if judgement.null:
        return judgement._replace(interval=Interval(1 / value, 1 / high, 1 / low))
    return judgement._replace(interval=Interval(-value, -high, -low))
