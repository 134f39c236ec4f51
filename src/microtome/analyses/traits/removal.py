"""H7 and H8: whether a block near the end can be removed. Only removal decides, and only a finding of `slimming` holds one.

The one place that has to know what a finding of slimming holds: fill `removal_evidence` when its arrays are fixed.
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


def removal_evidence(finding: Finding) -> RemovalEvidence | None:
    """What a finding of slimming says of the penultimate block; None where it does not say it in a form known here."""
    if not {"penultimate_loss", "penultimate_loss_low", "penultimate_loss_high"} <= set(finding.arrays):
        return None
    ends = (float(finding[f"penultimate_loss{end}"].values) for end in ("", "_low", "_high"))
    return RemovalEvidence(Interval(*(100 * end for end in ends)), int((finding.origin.get("images") or {}).get("count", 0)))


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
    return removal_evidence(finding) if finding is not None else None
