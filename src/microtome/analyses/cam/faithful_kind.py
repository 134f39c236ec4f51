"""Which kind `cam` shows, what is known of its faithfulness, and the headline that says so."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from microtome.errors import hint, option_hint
from microtome.finding import Finding
from microtome.images import Images
from microtome.instruments.attribution import kind_digest
from microtome.instruments.faithfulness.trust import (
    BEST,
    NOT_TRIED,
    WARNING,
    best_refusal,
    kinds_in_question,
    most_faithful_kind,
    trust_facts,
)
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen


def best_kind_refusal(specimen: Specimen, images: Images, target: str) -> str:
    """Why kind best cannot be asked for, as a clause; empty where it can."""
    if target == "embedding":
        return f"kind best compares kinds of map by the probability of a class; name one: {option_hint('kind', 'hirescam')}"
    return best_refusal(specimen, images)


def digest_of_kinds(kind: str, *further: str) -> str:
    """A digest of the code of a kind of another package, or of all that are compared, and of further kinds; empty for our own."""
    return "".join(map(kind_digest, (*kinds_in_question(kind), *further)))


def kind_to_show(
    specimen: Specimen, images: Images, kind: str, target: str, pace: Pace, *, at: Sequence[str], count: int
) -> tuple[str, str, dict[str, Any]]:
    """The name of the kind, why it was chosen (empty where it was named), and what is known of its faithfulness.

    Kind best maps one of the layers `at` where some are named; the verdict is measured on `count` images where none is known.
    """
    reason = ""
    if kind == BEST:
        choice = most_faithful_kind(specimen, images, pace, at=at)
        kind, reason = choice.kind, choice.reason
    # the verdict is on maps of a class
    return kind, reason, NOT_TRIED if target == "embedding" else trust_facts(specimen, images, kind, pace, count)


def trust_caveats(finding: Finding) -> list[str]:
    """What speaks against the kind, and how it was chosen."""
    facts = finding.facts
    chosen = f"Kind best: {facts['kind']}, {facts['choice']}." if facts["choice"] else ""
    unknown = ""
    if facts["trust"]["verdict"] == NOT_TRIED["verdict"] and "similarity" not in finding:
        call = hint("microtome faithfulness SPECIMEN IMAGES", "mt.analyses.faithfulness.Faithfulness()(net, images)")
        unknown = (
            f"Whether {facts['kind']} does better than a random map, a blob in the centre and edges was not measured: {call}"
        )
    return [text for text in (facts["trust"]["doubt"], unknown, chosen) if text]


def evidence_headline(finding: Finding) -> str:
    """Where the evidence lies; it begins with a warning where the kind is not shown to beat the baselines."""
    half, count = finding.key("area of half the evidence"), finding["image"].sizes["image"]
    kind, warns = finding.facts["kind"], bool(finding.facts["trust"]["warning"])
    if np.isnan(half.value):
        return f"At {half.at} no evidence for {finding.facts['noun']} in any of {plural(count, 'map')}."
    if "energy" in finding and not np.isnan(finding.key("energy-based pointing game").value):
        inside, area = finding.key("energy-based pointing game"), finding.key("object area")
        twin = f"{inside.baseline_name} {inside.baseline_text}" if inside.baseline_text else "random weights: empty maps"
        if warns:
            twin = f" ({twin})" if inside.baseline_text else ""
            return f"{WARNING} At {inside.at} {inside.text} of {kind} energy on objects of {area.text}{twin}."
        return f"At {inside.at} {inside.text} of {kind} energy lies on objects covering {area.text} of the image ({twin})."
    if warns:
        return f"{WARNING} At {half.at} half the {kind} energy covers {half.text} (an even map 50%)."
    return f"At {half.at} half of the {kind} energy covers {half.text} of the image (median; an even map 50%)."
