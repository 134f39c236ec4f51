"""From networks, limits and preferences to a recommendation: which evidence decides, among whom, and the sentences that say so."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microtome.analyses.compare import wording
from microtome.analyses.compare.criteria import Evidence
from microtome.analyses.compare.decision import Decision, decide
from microtome.analyses.compare.limits import Limit, LimitJudgement, joint_accuracy_intervals, judge_limit, networks_within
from microtome.analyses.compare.named_criteria import ACCURACY, Criterion, CriterionColumn, criterion_column
from microtome.analyses.compare.prices import Prices
from microtome.analyses.compare.prior import Prior
from microtome.analyses.compare.proof import NO_BENCHMARK, ChoiceBenchmark, describe_record, most_trusted
from microtome.analyses.compare.scores import decide_by_prior, decide_by_score, transfer_scores
from microtome.analyses.compare.weighing import Weighing, first_rate_in_bootstrap, weigh
from microtome.errors import option_name
from microtome.finding import Finding
from microtome.numerics.statistics.balanced_pairs import compare_balanced
from microtome.numerics.statistics.equivalence import PairedComparison, compare_paired
from microtome.numerics.statistics.weight_regions import WeightRegion, regions_of_weight

Values = np.ndarray[Any, Any]


class Networks(NamedTuple):
    """The networks: their names, findings by name and analysis, whether trained (network,), and their answers (network, image)."""

    names: list[str]
    byname: dict[str, dict[str, Finding]]
    trained: Values
    evidence: Evidence
    correct: Values

    @property
    def with_answers(self) -> Values:
        """Indices of the trained networks whose answers are better than chance."""
        return np.flatnonzero(self.trained & self.evidence.known)

    @property
    def classes(self) -> Values | None:
        """The classes of the images where balanced accuracy is compared."""
        return self.evidence.labels if self.evidence.by_class else None

    @property
    def class_count(self) -> int:
        """How many classes the images have; 0 where unknown."""
        labels = self.evidence.labels
        return 0 if labels is None else len(np.unique(labels[labels >= 0]))

    def column(self, criterion: Criterion, option: str) -> CriterionColumn:
        """A criterion of all networks."""
        return criterion_column(criterion, self.byname, self.evidence, option)

    def compare(self, indices: Values, seed: int) -> PairedComparison | None:
        """The paired comparison of some networks; None without answers."""
        if not self.evidence.kind or not len(indices):
            return None
        own = self.correct[indices]
        return compare_paired(own) if self.classes is None else compare_balanced(own, self.classes, seed=seed)


class Wishes(NamedTuple):
    """What the user asks for: the cost that decides, the accepted loss, limits, weights of criteria, seed of the bootstrap."""

    price: Prices
    margin: float
    limits: Sequence[Limit]
    preferences: Sequence[tuple[Criterion, float]]
    seed: int


class Recommendation(NamedTuple):
    """The decision, among which networks (indices) it was made, and what it rests on.

    `source` is "own head", "probe", the name of a score, "prior", or empty; `regions` are by weighted criterion; `stays` is how often
    each of the judged networks is first by the weights in bootstrap samples.
    """

    decision: Decision
    judged: Values
    paired: PairedComparison | None
    judgements: list[LimitJudgement]
    source: str
    weighing: Weighing | None = None
    regions: Mapping[str, Sequence[WeightRegion]] = {}  # a default that nobody changes
    stays: Values | None = None
    lines: Sequence[str] = ()


def recommend(nets: Networks, wishes: Wishes, prior: Prior | None, benchmark: ChoiceBenchmark | None) -> Recommendation:
    """The recommendation, by limits, then by weights where there are any, else by the rule of the margin."""
    judgements = [_judgement(nets, limit) for limit in wishes.limits]
    within = networks_within(judgements, len(nets.names))
    scores = transfer_scores(nets.byname)
    source = _deciding_source(nets.evidence.kind, list(scores), benchmark)
    images = int((~np.isnan(nets.correct[nets.with_answers])).all(axis=0).sum()) if len(nets.with_answers) else 0
    lines = wording.limit_lines(judgements, nets.names, images)
    named = source or nets.evidence.kind
    lines += [describe_record(named, benchmark)] if named else []
    trained = np.flatnonzero(nets.trained)
    nobody = np.full(len(nets.names), np.nan)
    if len(trained) and judgements and not within[trained].any():
        reason = wording.nobody_within(judgements, trained, nets.names, images, nets.class_count)
        return Recommendation(Decision(nobody, "", reason), np.zeros(0, int), None, judgements, source, lines=lines)
    judged = np.flatnonzero(nets.trained & within & nets.evidence.known)
    if wishes.preferences and len(trained):
        return _by_weights(nets, wishes, np.flatnonzero(nets.trained & within), judgements, source, lines)
    if source and source == nets.evidence.kind and len(judged):
        paired = nets.compare(judged, wishes.seed)
        decision = _by_margin(nets, wishes, judged, paired, bool(judgements))
        return Recommendation(decision, judged, paired, judgements, source, lines=lines)
    candidates = np.flatnonzero(nets.trained & within)
    if source in scores and benchmark is not None:
        decision = decide_by_score(nets.names, candidates, scores[source], benchmark)
        return Recommendation(decision, judged, nets.compare(judged, wishes.seed), judgements, source, lines=lines)
    if nets.evidence.kind and not source and benchmark is not None:
        reason = f"No recommendation: tau of the {nets.evidence.kind} includes 0 in the benchmark, so it cannot decide alone."
        return Recommendation(
            Decision(nobody, "", reason), judged, nets.compare(judged, wishes.seed), judgements, "", lines=lines
        )
    if scores and len(trained):
        lines.append(f"Scores of transferability are shown and decide nothing: {_why_not(scores, benchmark)}.")
    elif len(trained) and prior is not None and (by_prior := decide_by_prior(nets.names, candidates, prior)):
        return Recommendation(by_prior, judged, None, judgements, "prior", lines=lines)
    reason = wording.no_evidence(nets.byname) if len(trained) else "No recommendation: none of these networks is trained."
    return Recommendation(Decision(nobody, "", reason), judged, None, judgements, "", lines=lines)


def _judgement(nets: Networks, limit: Limit) -> LimitJudgement:
    column = nets.column(limit.criterion, "a limit")
    if limit.criterion.name != ACCURACY or not nets.evidence.kind:
        return judge_limit(limit, column)
    joint = joint_accuracy_intervals(nets.correct, nets.classes)
    ends = tuple(np.where(np.isnan(mine), own, mine) for mine, own in zip(joint, (column.low, column.high), strict=True))
    return judge_limit(limit, column, (ends[0], ends[1]))


def _deciding_source(kind: str, scores: Sequence[str], benchmark: ChoiceBenchmark | None) -> str:
    """Which evidence decides: the own heads always; else that with the largest tau; a probe also where nobody measured its tau."""
    if kind == "own head" or benchmark is None:
        return kind
    best = most_trusted([*([kind] if kind else []), *scores], benchmark)
    return best or (kind if kind and kind not in benchmark.scores else "")


def _why_not(scores: Mapping[str, Any], benchmark: ChoiceBenchmark | None) -> str:
    return (
        NO_BENCHMARK
        if benchmark is None
        else f"the benchmark shows none of {', '.join(scores)} to order networks better than chance"
    )


def _by_margin(nets: Networks, wishes: Wishes, judged: Values, paired: PairedComparison | None, limited: bool) -> Decision:
    """The rule of the margin; one network that alone keeps the limits is the choice."""
    measure = "balanced " if nets.evidence.by_class else ""
    decision = decide(nets.names, judged, paired, wishes.price, nets.trained, wishes.margin, measure, nets.class_count)
    if limited and len(judged) == 1 and len(nets.with_answers) > 1 and paired is not None:
        name = nets.names[judged[0]]
        reason = wording.only_network(name, float(paired.accuracy[0]), paired.images, measure)
        return decision._replace(choice=name, reason=reason)
    return decision


def _by_weights(
    nets: Networks, wishes: Wishes, candidates: Values, judgements: list[LimitJudgement], source: str, lines: list[str]
) -> Recommendation:
    """The recommendation by the weights of the user, among the candidates that have every criterion."""
    option = option_name("prefer")
    columns = [nets.column(criterion, option).take(candidates) for criterion, _ in wishes.preferences]
    known = ~np.isnan(np.stack([column.values for column in columns])).any(axis=0)
    by_accuracy = any(column.name == ACCURACY for column in columns)
    if by_accuracy:
        known &= nets.evidence.known[candidates]
    judged = candidates[known]
    if len(judged) < 2:
        rank = np.full(len(nets.names), np.nan)
        short = [column for column in columns if (~np.isnan(column.values)).sum() < 2]
        if len(judged) == 1 and judgements and len(nets.trained) > 1:
            name = nets.names[judged[0]]
            rank[judged] = 1
            reason = f"Choose {name}: the only network that keeps all limits and has all weighted criteria measured."
            return Recommendation(Decision(rank, name, reason), judged, None, judgements, source, lines=lines)
        reason = wording.lacking_criteria(short) if short else wording.no_evidence(nets.byname)
        return Recommendation(Decision(rank, "", reason), judged, None, judgements, source, lines=lines)
    columns = [column.take(np.flatnonzero(known)) for column in columns]
    paired = nets.compare(judged, wishes.seed) if by_accuracy else None
    if paired is not None:  # the same images for all
        columns = [column._replace(values=paired.accuracy) if column.name == ACCURACY else column for column in columns]
    weighing = weigh(columns, [weight for _, weight in wishes.preferences])
    names = [nets.names[place] for place in judged]
    decision = wording.decide_by_weights(nets.names, judged, weighing, paired, len(nets.names), nets.class_count)
    regions = {
        column.name: regions_of_weight(weighing.utilities, weighing.weights, place) for place, column in enumerate(columns)
    }
    stays = first_rate_in_bootstrap(weighing, nets.correct[judged], nets.classes, seed=wishes.seed) if by_accuracy else None
    first = np.nan if stays is None else float(stays[int(np.argmax(weighing.totals))])
    more = wording.weight_lines(weighing, regions, names, first)
    return Recommendation(decision, judged, paired, judgements, source, weighing, regions, stays, [*more, *lines])
