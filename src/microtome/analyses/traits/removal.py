"""H7 and H8: whether a block near the end can be removed. Only removal decides, and only a finding of `slimming` holds one.

The accuracy lost is that without any repair, as the study has none. Each network keeps 95% by itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

from microtome.analyses.traits.claims import Judgement
from microtome.analyses.traits.material import StudiedNetwork, Study
from microtome.errors import hint
from microtome.finding import Finding
from microtome.numerics.statistics.intervals import Interval

ANALYSIS = "slimming"
MARGIN = 1.0  # points of accuracy: a block that costs less than this can be removed
CLAIMS = (("H7", "deeper", -1), ("H7", "attention", -1), ("H8", "wider", 1))  # expected: loses less, or more, than the margin
QUANTITY = "accuracy lost when the penultimate block is removed"


class RemovalEvidence(NamedTuple):
    """Points of accuracy lost when the penultimate block is removed, with their interval, and over how many images."""

    loss: Interval
    images: int


def removal_loss(finding: Finding) -> RemovalEvidence | None:
    """What a finding of slimming says of the penultimate block; None where it does not say it in a form known here."""
    wanted = ("plain_loss", "plain_low", "plain_high")
    name, images = finding.facts.get("penultimate"), finding.facts.get("images")
    if not set(wanted) <= set(finding.arrays) or not isinstance(images, dict):
        return None
    loss = finding[wanted[0]]
    if name not in loss.candidate.values:
        return None
    ends = (100 * float(finding[each].sel(candidate=name)) for each in wanted)
    return RemovalEvidence(Interval(*ends), int(images["reported"]))


def judge_removal(study: Study) -> list[Judgement]:
    """The claims of H7 and H8, for each network of the family that was slimmed; one row for the family where none was."""
    judgements: list[Judgement] = []
    for code, family, expected in CLAIMS:
        blank = Judgement(
            code,
            QUANTITY,
            family,
            "",
            expected,
            "points",
            ANALYSIS,
            null=MARGIN,
            better=-1,
            models=study.models(family),
            reference=f"{MARGIN:g} point",
        )
        members = study.members(family)
        known = [(network, evidence) for network in members if (evidence := _evidence(network)) is not None]
        if not known:
            judgements.append(
                blank._replace(reason=study.lacking(family) or f"only removal decides; measure it: {command(members)}")
            )
        judgements += [
            blank._replace(first=network.name, interval=evidence.loss, samples=evidence.images, models="1")
            for network, evidence in known
        ]
    return judgements


def command(networks: Sequence[StudiedNetwork]) -> str:
    """What measures the removal."""
    names = " ".join(network.name for network in networks)
    return hint(
        f"microtome analyze {names} IMAGES --only {ANALYSIS}", f"mt.analyze(specimens, images, out, only=['{ANALYSIS}'])"
    )


def _evidence(network: StudiedNetwork) -> RemovalEvidence | None:
    finding = network.findings.get(ANALYSIS)
    return removal_loss(finding) if finding is not None else None
