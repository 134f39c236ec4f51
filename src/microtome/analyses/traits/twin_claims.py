"""Claims on the last three layers: how much weights and features change there, in comparison with untrained twins.

Random weights of the same network look alike in neighbouring layers too, so likeness counts only where it is greater than theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from microtome.analyses.traits.claims import TWIN_CLAIMS, Judgement, TwinClaim, Values
from microtome.analyses.traits.image_claims import LEVEL
from microtome.analyses.traits.material import StudiedNetwork, Study
from microtome.finding import Finding
from microtome.instruments.untrained_twins import NO_VERDICT
from microtome.numerics.statistics.intervals import Interval
from microtome.numerics.statistics.quantiles import student_quantile
from microtome.numerics.statistics.twin_gaps import LEAST_TWINS, TwinCase, twin_gap
from microtome.numerics.weights.pairs import LIKE_ROLE

LAST = 3  # layers
RATIO_UNIT, CKA_UNIT = "times the twins'", "CKA below the twins'"


class TwinEvidence(NamedTuple):
    """A network's change over its last layers beside its twins', or why it is not known; `ratio` where it is a logarithm."""

    case: TwinCase | None
    reason: str
    ratio: bool


def weight_evidence(finding: Finding) -> TwinEvidence:
    """The logarithm of the median W1/σ between neighbours of like role in the last three layers."""
    if list(finding.options.get("at", ("last3",))) != ["last3"]:
        return _without("weights was measured at other layers than the last three")
    if "each_twin_w1_over_sigma" not in finding:
        return _without("the finding of weights is of an older version without each twin")
    own, twins = (np.asarray(finding[name].values, dtype=np.float64) for name in ("w1_over_sigma", "each_twin_w1_over_sigma"))
    usable = np.isfinite(own)
    like = usable & (finding["match"].values == LIKE_ROLE)
    chosen = like if like.any() else usable
    if not chosen.any():
        return _without("no two of its last three layers hold weights of one role")
    if (finding["against_twins"].values[chosen] == NO_VERDICT).all():
        return _without("its twins allow no verdict on the weights")
    return _as_ratio(float(np.median(own[chosen])), 0.0, np.inf, np.median(twins[:, chosen], axis=1))


def similarity_evidence(finding: Finding) -> TwinEvidence:
    """1 - CKA, the mean over the neighbours among the last three layers."""
    if list(finding.options.get("at", ("blocks",))) != ["blocks"]:
        return _without("similarity was measured at other layers than the blocks")
    if "each_twin_step" not in finding:
        return _without("the finding of similarity is of an older version without each twin")
    if reason := str(finding.facts.get("no_verdict", "")):
        return _without(f"similarity gives no verdict: {reason}")
    steps = finding["step"].values[-(LAST - 1) :]
    errors = np.diagonal(finding["cka_error"].values, 1)[-(LAST - 1) :]
    twins = np.asarray(finding["each_twin_step"].values, dtype=np.float64)[:, -(LAST - 1) :]
    # the mean of the errors is at least the error of the mean, whatever the correlation
    case = TwinCase(1 - float(steps.mean()), float(errors.mean()), float(finding["count"][0]) - 1, 1 - twins.mean(axis=1))
    return _checked(case, ratio=False)


def influence_evidence(finding: Finding) -> TwinEvidence:
    """The logarithm of the mean block influence of the last three blocks that keep the shape."""
    if "each_twin_influence" not in finding:
        return _without("the finding of redundancy is of an older version without each twin")
    if reason := str(finding.facts.get("no_verdict", "")):
        return _without(f"redundancy gives no verdict: {reason}")
    own, low, high = (finding[name].values[-LAST:] for name in ("influence", "influence_low", "influence_high"))
    images = int((finding.origin.get("images") or {}).get("count", 0))
    half = float(np.mean(high - low)) / 2
    error = half / float(student_quantile((1 + LEVEL) / 2, max(images - 1, 1)))
    twins = np.asarray(finding["each_twin_influence"].values, dtype=np.float64)[:, -LAST:].mean(axis=1)
    return _as_ratio(float(own.mean()), error, float(max(images - 1, 1)), twins)


EVIDENCE_OF: Mapping[str, Callable[[Finding], TwinEvidence]] = {
    "weights": weight_evidence,
    "similarity": similarity_evidence,
    "redundancy": influence_evidence,
}


def judge_last_layers(study: Study) -> list[Judgement]:
    """The claims of H5 and H6 on families; each hypothesis keeps 95% over all of its claims that can be measured."""
    judgements: list[Judgement] = []
    for code in dict.fromkeys(claim.hypothesis for claim in TWIN_CLAIMS):
        claims = [claim for claim in TWIN_CLAIMS if claim.hypothesis == code]
        groups = [(study.members(claim.first), study.members(claim.second) if claim.second else []) for claim in claims]
        judgements += _judge_together(study, claims, groups, families=True)
    return judgements


def judge_networks(study: Study) -> list[Judgement]:
    """The claims against the own twins for each network; each measure keeps 95% over all of its networks."""
    judgements: list[Judgement] = []
    for measure in EVIDENCE_OF:
        claims = [claim for claim in TWIN_CLAIMS if claim.measure == measure and not claim.second]
        chosen = [(claim, network) for claim in claims for network in study.members(claim.first)]
        judgements += _judge_together(
            study, [claim for claim, _ in chosen], [([network], []) for _, network in chosen], families=False
        )
    return judgements


def _judge_together(
    study: Study,
    claims: Sequence[TwinClaim],
    groups: Sequence[tuple[list[StudiedNetwork], list[StudiedNetwork]]],
    families: bool,
) -> list[Judgement]:
    """These claims on these networks, at the level that holds those of them together which can be measured."""
    blanks = [_blank(study, claim, group, families) for claim, group in zip(claims, groups, strict=True)]
    level = 1 - (1 - LEVEL) / max(sum(not blank.reason for blank, *_ in blanks), 1)
    judgements: list[Judgement] = []
    for blank, cases, weights in blanks:
        if blank.reason:
            judgements.append(blank)
            continue
        gap = twin_gap(cases, weights, level)
        interval = Interval(*np.exp(gap).tolist()) if blank.null else gap
        reason = "" if np.isfinite(interval.low) else "neither the network nor its twins vary"
        judgements.append(blank._replace(interval=interval, reason=reason))
    return judgements


def _blank(
    study: Study, claim: TwinClaim, group: tuple[list[StudiedNetwork], list[StudiedNetwork]], families: bool
) -> tuple[Judgement, list[TwinCase], list[float]]:
    """The claim without its effect, the cases of its networks, and the weight of each in the difference."""
    first = claim.first if families else group[0][0].name
    ratio = claim.measure != "similarity"
    judgement = Judgement(
        claim.hypothesis, claim.quantity, first, claim.second, claim.expected, RATIO_UNIT if ratio else CKA_UNIT, claim.measure,
        null=1.0 if ratio else 0.0, models=study.models(claim.first, claim.second) if families else "1",
    )  # fmt: skip
    if reason := study.lacking(claim.first, claim.second):
        return judgement._replace(reason=reason), [], []
    cases: list[TwinCase] = []
    weights: list[float] = []
    reasons: list[str] = []
    for networks, sign in zip(group, (1.0, -1.0), strict=True):
        known = [(network.name, _evidence(network, claim.measure)) for network in networks]
        measured = [evidence.case for _, evidence in known if evidence.case is not None]
        reasons += [f"{name}: {evidence.reason}" for name, evidence in known if evidence.case is None]
        if not networks:
            continue
        if not measured:
            return judgement._replace(reason=reasons[-1]), [], []
        cases += measured
        weights += [sign / len(measured)] * len(measured)
    remark = f", without {'; '.join(reasons)}" if reasons else ""
    count = min(len(case.twins) for case in cases)
    return judgement._replace(samples=count, evidence=f"{claim.measure}{remark}"), cases, weights


def _evidence(network: StudiedNetwork, measure: str) -> TwinEvidence:
    if measure not in network.findings:
        return _without(f"no finding of {measure}")
    return EVIDENCE_OF[measure](network.findings[measure])


def _without(reason: str) -> TwinEvidence:
    return TwinEvidence(None, reason, ratio=False)


def _as_ratio(value: float, error: float, freedom: float, twins: Values) -> TwinEvidence:
    """The evidence in logarithms, so that it is compared by factors."""
    if not value > 0 or not (twins > 0).any():
        return _without("its change or that of its twins is zero")
    known = twins[twins > 0]
    return _checked(TwinCase(float(np.log(value)), error / value, freedom, np.log(known)), ratio=True)


def _checked(case: TwinCase, ratio: bool) -> TwinEvidence:
    """The evidence, unless there are too few twins or a number is missing."""
    count = int(np.isfinite(case.twins).sum())
    if count < LEAST_TWINS:
        return _without(f"{count} untrained twins were measured, and {LEAST_TWINS} are needed")
    if not np.isfinite([case.value, case.error]).all():
        return _without("its change or the interval of it is not known")
    return TwinEvidence(case, "", ratio)
