"""What to know of a kind of map before it is shown, and which kind to show: from a finding of `faithfulness`, or measured here.

A finding of the same network on the same images in the same results folder answers at once (`Pace.earlier`). Where there is none, the
kinds in question and the baselines are compared on a few images; with fewer than six images nothing is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from microtome.errors import Unmeasurable
from microtome.images import Images
from microtome.instruments.attribution import map_kind
from microtome.instruments.class_matching import why_no_scores
from microtome.instruments.faithfulness.kind_choice import cheap_kinds
from microtome.instruments.faithfulness.methods import BASELINES, map_methods
from microtome.instruments.faithfulness.ranking import enough_images, rank_methods
from microtome.instruments.faithfulness.removal_trials import RemovalPlan, patch_side
from microtome.instruments.faithfulness.trials import score_methods
from microtome.instruments.shown_images import choose_images
from microtome.prose import plural
from microtome.scan import Pace
from microtome.specimen import Specimen

ANALYSIS = "faithfulness"
BEST = "best"  # in place of a kind: the most faithful one
FALLBACK = "gradcam"  # where nothing can be measured
IMAGES, STEPS = 9, 5  # of a comparison that is made here: the fewest images of which one may disagree


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
        if not self.warns:
            return f"{self.title} is {self.verdict} on {self.basis}."
        return f"Warning: {self.title} is {self.verdict} on {self.basis}; its maps may not show what the network depends on."

    def facts(self) -> dict[str, Any]:
        """The same as plain values for a finding."""
        return {"verdict": self.verdict, "warns": self.warns, "text": self.text}


@dataclass(frozen=True)
class Choice:
    """The kind that was chosen, and why, in words."""

    kind: str
    reason: str


def map_trust(specimen: Specimen, images: Images, kind: str, pace: Pace) -> MapTrust | None:
    """What is known of this kind on this network and these images; None where nothing can be said."""
    known = _known_standings(specimen, images, pace)
    if (standing := known.get(kind)) is not None:
        return MapTrust(map_kind(kind).title, standing["verdict"], bool(standing["warns"]), f"{standing['images']} of these images")
    if not enough_images(len(images)) or why_no_scores(specimen, images):
        return None
    standings = _measure(specimen, images, [kind], pace)
    if kind not in standings:
        return None
    standing = standings[kind]
    return MapTrust(map_kind(kind).title, standing["verdict"], bool(standing["warns"]), f"{standing['images']} of these images")


def most_faithful_kind(specimen: Specimen, images: Images, pace: Pace) -> Choice:
    """The kind with the largest gain over the best baseline; Grad-CAM where nothing can be measured, with the reason."""
    standings, source = _known_standings(specimen, images, pace), f"as {ANALYSIS} found"
    if not standings:
        if not enough_images(len(images)):
            return Choice(FALLBACK, f"{plural(len(images), 'image')} are too few to compare kinds of map")
        if reason := why_no_scores(specimen, images):
            return Choice(FALLBACK, f"kinds of map cannot be compared here: {reason}")
        standings, source = _measure(specimen, images, cheap_kinds(), pace), "measured here"
    if not standings:
        return Choice(FALLBACK, "no kind of map could be measured here")
    best = next(iter(standings))
    standing = standings[best]
    return Choice(best, f"the most faithful of {plural(len(standings), 'kind')} on {standing['images']} of these images, {source}")


def standing_facts(ranking: Any) -> dict[str, dict[str, Any]]:
    """The standings of a ranking as plain values by kind, the best first: what a finding keeps and `map_trust` reads."""
    return {
        standing.name: {"verdict": standing.verdict, "warns": standing.warns, "images": ranking.images}
        for standing in ranking.standings
    }


def _known_standings(specimen: Specimen, images: Images, pace: Pace) -> Mapping[str, Mapping[str, Any]]:
    """The standings in a finding that is there already, the best first."""
    finding = pace.earlier(specimen, images, ANALYSIS) if pace.earlier is not None else None
    return finding.facts.get("standings", {}) if finding is not None else {}


def _measure(
    specimen: Specimen, images: Images, kinds: Sequence[str], pace: Pace
) -> dict[str, dict[str, Any]]:
    """The standings of these kinds on a few of the images; nothing where no kind applies."""
    taken = images.take(choose_images(ANALYSIS, specimen, images, (), IMAGES))
    first = torch.from_numpy(taken.inputs(specimen.recipe, range(min(4, len(taken)))))
    x = specimen.recipe.normalise(first).to(specimen.device)
    try:
        methods, _, _ = map_methods(specimen, kinds, "deep", x, pace.memory)
    except Unmeasurable:  # the caller says what follows
        return {}
    plan = RemovalPlan(STEPS, patch_side(specimen.recipe.size), memory=pace.memory)
    scores = score_methods(specimen, taken, methods, plan, pace)
    titles = {method.name: method.title for method in methods}
    return standing_facts(rank_methods(scores, tuple(BASELINES), titles))
