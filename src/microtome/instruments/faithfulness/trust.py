"""What to know of a kind of map before it is shown, and which kind to show: from a finding of `faithfulness`, or measured here.

A finding of the same network on the same images in the same results folder answers at once (`Pace.earlier`). Where there is none, the
kinds in question and the baselines are compared on a few images; with fewer than six images nothing is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

from microtome.errors import Unmeasurable, option_hint
from microtome.images import Images
from microtome.instruments.attribution import map_kind, visible_layers
from microtome.instruments.class_matching import why_no_scores
from microtome.instruments.faithfulness.kind_choice import cheap_kinds, is_cheap
from microtome.instruments.faithfulness.methods import BASELINES, map_methods
from microtome.instruments.faithfulness.ranking import BETTER, UNKNOWN, Ranking, enough_images, rank_methods
from microtome.instruments.faithfulness.removal_trials import RemovalPlan, patch_side
from microtome.instruments.faithfulness.trials import score_methods
from microtome.instruments.shown_images import choose_images, first_images
from microtome.numerics.statistics.medians import MIN_RUNS
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen

ANALYSIS = "faithfulness"
BEST = "best"  # in place of a kind: the most faithful one
LAYER = "deep"
IMAGES, STEPS = 12, 4  # of a comparison that is made here: of twelve images two may disagree
WARNING = "Warning: no better than a baseline."  # begins a headline


@dataclass(frozen=True)
class MapTrust:
    """What is known of one kind: its title, the verdict, whether its maps need a warning, and what that rests on."""

    title: str
    verdict: str
    warns: bool
    basis: str

    @property
    def text(self) -> str:
        """One sentence."""
        if self.warns:
            return f"Warning: {self.title} is {self.verdict} ({self.basis}): its maps may not show what the network depends on."
        if self.verdict == BETTER:
            return f"{self.title} is {self.verdict} ({self.basis})."
        return f"{self.title} is ahead of all baselines in the median, but {self.verdict} ({self.basis})."

    def facts(self) -> dict[str, Any]:
        """The same as plain values for a finding; `warning` is empty where there is none, `doubt` where it is shown to be better."""
        return {
            "verdict": self.verdict,
            "doubt": self.text if self.verdict != BETTER else "",
            "warning": self.text if self.warns else "",
            "text": self.text,
        }


@dataclass(frozen=True)
class KindChoice:
    """The kind that was chosen, and why, in words."""

    kind: str
    reason: str


NOT_TRIED: dict[str, Any] = {
    "verdict": "not measured",
    "doubt": "",
    "warning": "",
    "text": "",
}  # the facts where nothing can be said


def trust_facts(specimen: Specimen, images: Images, kind: str, pace: Pace, count: int = IMAGES) -> dict[str, Any]:
    """What a finding with maps of this kind keeps of `map_trust`; what is measured here is measured on `count` images."""
    trust = map_trust(specimen, images, kind, pace, count)
    return NOT_TRIED if trust is None else trust.facts()


def trust_of_kinds(
    specimen: Specimen, images: Images, kinds: Sequence[str], pace: Pace, count: int = IMAGES
) -> dict[str, dict[str, Any]]:
    """The facts of each of these kinds, as `trust_facts` gives them; what is not cheap is not measured here."""
    cheap = [name for name in kinds if is_cheap(map_kind(name))]
    standings = _standings(specimen, images, cheap, pace, count)
    return {name: _trust(name, standings[name]).facts() if name in standings else NOT_TRIED for name in kinds}


def standing_number(facts: Mapping[str, Any]) -> float:
    """The verdict of `trust_facts` as a number: 1 better than all baselines, -1 with a warning, 0 neither, NaN not measured."""
    if facts["verdict"] in (NOT_TRIED["verdict"], UNKNOWN):
        return nan
    return 1.0 if facts["verdict"] == BETTER else -1.0 if facts["warning"] else 0.0


def kinds_in_question(kind: str) -> tuple[str, ...]:
    """The kind itself, or for kind best all that are compared."""
    return cheap_kinds() if kind == BEST else (kind,)


def images_to_compare(shown: int) -> int:
    """On how many images a comparison is made for an analysis that shows so many: twice as many, at most 12; on none for fewer than 6.

    Quick sizes are meant to answer at once, and a comparison takes many times as long as the maps.
    """
    return min(IMAGES, 2 * shown) if shown >= MIN_RUNS else 0


def trust_forward(images: Images | None, kinds: Sequence[str], count: int = IMAGES) -> float:
    """About how many forward passes a comparison of these kinds takes that is made here."""
    count = min(count, len(images or ()))
    if not enough_images(count):
        return 0.0
    drawn = sum(3.0 * map_kind(name).copies for name in kinds)  # a pass there and back takes about three
    return count * (drawn + (len(kinds) + len(BASELINES)) * 2.0 * (STEPS - 1))


def map_trust(specimen: Specimen, images: Images, kind: str, pace: Pace, count: int = IMAGES) -> MapTrust | None:
    """What is known of this kind on this network and these images; None where nothing can be said."""
    standing = _standings(specimen, images, (kind,), pace, count).get(kind)
    return None if standing is None else _trust(kind, standing)


def _standings(
    specimen: Specimen, images: Images, kinds: Sequence[str], pace: Pace, count: int
) -> dict[str, Mapping[str, Any]]:
    """The standings that a finding has, and of these kinds those that it lacks, measured where `count` of the images are enough."""
    standings = dict(_known_standings(specimen, images, pace))
    lacking = tuple(name for name in kinds if name not in standings)
    if lacking and enough_images(min(count, len(images))) and not why_no_scores(specimen, images):
        standings |= _measured_standings(specimen, images, lacking, pace, count)
    return standings


def _trust(kind: str, standing: Mapping[str, Any]) -> MapTrust:
    where = f"at {standing['layer']}, " if standing["layer"] else ""
    return MapTrust(
        map_kind(kind).title, standing["verdict"], bool(standing["warns"]), f"{where}{standing['images']} of these images"
    )


def best_refusal(specimen: Specimen, images: Images | None) -> str:
    """Why the most faithful kind cannot be found on these, as a clause; empty where it can."""
    count = len(images or ())
    if not enough_images(count):
        remedy = f"give {MIN_RUNS} or more, or name a kind: {option_hint('kind', 'gradcam')}"
        return f"kind best compares kinds of map on several images, and there {'is' if count == 1 else 'are'} {count}; {remedy}"
    if reason := why_no_scores(specimen, images):
        return f"kind best compares kinds of map by the probability of a class, and {reason}; name a kind: {option_hint('kind', 'gradcam')}"
    return ""


def most_faithful_kind(specimen: Specimen, images: Images, pace: Pace, *, at: Sequence[str] = ()) -> KindChoice:
    """The kind with the largest gain over the best baseline; of those that map a layer of `at` where layers are named there.

    Raises:
        Unmeasurable: no kind applies to this network.
    """
    standings, source = _known_standings(specimen, images, pace), f"as {ANALYSIS} found"
    if not standings:
        standings, source = _measured_standings(specimen, images, cheap_kinds(), pace, IMAGES), "measured here"
    fitting = [name for name in standings if not at or _maps_a_layer(specimen, images, name, at)]
    if not fitting:
        raise Unmeasurable(f"no kind of map could be compared on {specimen.name}.")
    standing = standings[fitting[0]]
    count = plural(len(fitting), "kind")
    return KindChoice(fitting[0], f"the most faithful of {count} on {standing['images']} of these images ({source})")


def _maps_a_layer(specimen: Specimen, images: Images, name: str, at: Sequence[str]) -> bool:
    """Whether a kind maps one of these layers."""
    kind = map_kind(name)
    if kind.on_input:
        return False
    try:
        visible_layers(specimen, at, first_images(specimen, images), kind=kind)
    except Unmeasurable:
        return False
    return True


def standing_facts(ranking: Ranking, layers: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The standings of a ranking as plain values by kind, the best first: what a finding keeps and `map_trust` reads."""
    return {
        standing.name: {
            "verdict": standing.verdict, "warns": standing.warns, "images": ranking.images, "layer": layers.get(standing.name, ""),
        }
        for standing in ranking.standings
    }  # fmt: skip


def _known_standings(specimen: Specimen, images: Images, pace: Pace) -> Mapping[str, Mapping[str, Any]]:
    """The standings in a finding that is there already, the best first."""
    finding = pace.earlier(specimen, images, ANALYSIS) if pace.earlier is not None else None
    return finding.facts.get("standings", {}) if finding is not None else {}


def _measured_standings(
    specimen: Specimen, images: Images, kinds: Sequence[str], pace: Pace, count: int
) -> dict[str, dict[str, Any]]:
    """The standings of these kinds on a few of the images, measured once for a network; nothing where no kind applies."""
    known: dict[Any, dict[str, dict[str, Any]]] = specimen.__dict__.setdefault("_standings", {})
    key = images.digest(), tuple(kinds), count
    if key not in known:
        known[key] = _compare(specimen, images, kinds, pace, count)
    return known[key]


def _compare(specimen: Specimen, images: Images, kinds: Sequence[str], pace: Pace, count: int) -> dict[str, dict[str, Any]]:
    taken = images.take(choose_images(ANALYSIS, specimen, images, (), count))
    try:
        methods, _, layer = map_methods(specimen, kinds, LAYER, first_images(specimen, taken), pace.memory)
    except Unmeasurable:  # the caller says what follows
        return {}
    plan = RemovalPlan(STEPS, patch_side(specimen.recipe.size), memory=pace.memory)
    scores = score_methods(specimen, taken, methods, plan, pace)
    titles = {method.name: method.title for method in methods}
    layers = {name: "" if map_kind(name).on_input else layer for name in kinds}
    return standing_facts(rank_methods(scores, tuple(BASELINES), titles), layers)
