"""Networks side by side: one table, limits, the Pareto front, and a recommendation.

The recommendation is a rule. Among trained networks measured on the same images, a cheaper one is recommended only where the interval
of its loss shows it at most `margin` less accurate than every other network (paired differences, simultaneous over all pairs); of
several that cost about the least (nobody saves a fifth of their cost), the most accurate. Otherwise the most accurate one is named: as
significantly better, or with the statement that the evidence is not enough and the number of images that would decide. Without
accuracy or probe, or with no trained network, there is no recommendation.

Limits (`max_latency`, `max_params`, `max_operations`, `max_memory`, `min_accuracy`) leave out networks first: one stays only where its
whole interval keeps the limit. With `prefer` a weighted sum of scaled criteria decides instead of the rule, and the weights at which the
recommendation changes are exact. `pareto` names the criteria of the front; dominated networks are listed. `prior` joins published
results by model name, as columns; they decide only where nothing was measured. Which evidence decides where no network has a head for
these classes follows from a committed benchmark.

By latency a network is cheaper only where both were timed in turn in one run and the interval of their ratio excludes 1; otherwise
fewer parameters decide, then fewer operations, and the sentence says which. Where the largest class has more than 1.5 times the images
of the smallest, balanced accuracy (the mean over classes) is compared instead of top-1 accuracy.

Source: balanced accuracy, Brodersen et al. 2010; score intervals of paired differences, Tango 1998, held together by the studentised
range, Hsu 1996, "Multiple Comparisons", ch. 5; weighted sums, Keeney & Raiffa 1976, "Decisions with Multiple Objectives", ch. 3; the
intervals of a sum from those of its parts, Zou & Donner 2008; the rule is ours. The study that asks these questions of six backbones:
Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision".
"""

import hashlib
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, Literal, final

import numpy as np

from microtome.analyses.compare import criteria as side
from microtome.analyses.compare import wording
from microtome.analyses.compare.choice_arrays import choice_panels, domination_arrays, limit_arrays, weight_arrays
from microtome.analyses.compare.domination import dominated_candidates
from microtome.analyses.compare.limits import OPTIONS, parse_limit
from microtome.analyses.compare.named_criteria import ACCURACY, PRICE_NAMES, criteria_names, criterion_title, parse_criterion
from microtome.analyses.compare.network_arrays import latency_arrays, spread_arrays, table_arrays
from microtome.analyses.compare.prices import Prices, gather_prices, price_label
from microtome.analyses.compare.prior import prior_digest, read_prior
from microtome.analyses.compare.proof import benchmark_text, parse_benchmark
from microtome.analyses.compare.recommending import Networks, Wishes, recommend
from microtome.analyses.compare.weighing import parse_preferences
from microtome.analysis import Collation, Measurement, group_by_specimen, option
from microtome.errors import Unmeasurable, option_name
from microtome.finding import Finding
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.panels import Curve, Overlay, Panel, Scatter, Table
from microtome.prose import name_list


@final
class Compare(Collation):
    """One table, one Pareto front, one recommendation."""

    needs = "findings"
    question = "choose"
    title = "Which network to choose"
    rank = 10
    effort = "quick"
    revision = 4  # 4: limits, preferences, dominated networks, images per class

    price: Literal["time", "size", "operations"] = option("time", "cost that decides between networks of similar accuracy")
    margin: float = option(0.01, "largest loss of accuracy accepted for a cheaper network, fraction", low=0.0, high=0.5)
    max_latency: str = option("", "largest latency of one image, for example 20ms")
    max_params: str = option("", "largest number of parameters, for example 30M")
    max_operations: str = option("", "largest number of multiply-adds per image, for example 4G")
    max_memory: str = option("", "largest memory peak of one image with the weights, for example 500MB")
    min_accuracy: str = option("", "least accuracy, for example 0.8 or 80%")
    prefer: tuple[str, ...] = option((), "weights of criteria, for example robustness=2,latency=1")
    pareto: tuple[str, ...] = option((), "criteria of the Pareto front; by default accuracy and cost, or those of prefer")
    prior: str = option("", "CSV file of published results with a column model, shown beside what was measured")
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._limits()  # so that a wrong word is refused before anything is read
        parse_preferences(self.prefer, self.price)
        self._front_criteria()

    def extra_key(self) -> str:
        parts = [prior_digest(self.prior) if self.prior else "", benchmark_text()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16] if any(parts) else ""

    def _limits(self) -> list[Any]:
        return [parse_limit(name, text) for name in OPTIONS if (text := str(getattr(self, name)))]

    def _front_criteria(self) -> list[Any]:
        """The criteria of the Pareto front: those named, else those with a weight, else accuracy and cost."""
        if not self.pareto and self.prefer:
            return [criterion for criterion, _ in parse_preferences(self.prefer, self.price)]
        names = criteria_names(self.pareto) or [ACCURACY, PRICE_NAMES[self.price]]
        return [parse_criterion(name, option_name("pareto")) for name in names]

    def collate(self, findings: Sequence[Finding]) -> Measurement:
        nets = _gather_networks(findings)
        prior = read_prior(self.prior, nets.names) if self.prior else None
        prices = gather_prices(nets.byname, self.price)
        wishes = Wishes(prices, self.margin, self._limits(), parse_preferences(self.prefer, self.price), self.seed)
        made = recommend(nets, wishes, prior, parse_benchmark(benchmark_text()))
        everyone = nets.compare(nets.with_answers, self.seed)
        front = [nets.column(criterion, option_name("pareto")) for criterion in self._front_criteria()]
        eligible = nets.trained & (nets.evidence.known | all(column.name != ACCURACY for column in front))
        front = [column._replace(values=np.where(eligible, column.values, nan)) for column in front]
        if everyone is not None:
            exact = np.full(len(nets.names), nan)
            exact[nets.with_answers] = everyone.accuracy
            front = [column._replace(values=exact) if column.name == ACCURACY else column for column in front]
        pairs = dominated_candidates(front, everyone, nets.with_answers)
        on_front = np.asarray(~np.isnan(np.stack([column.values for column in front])).any(axis=0))
        on_front[[pair.candidate for pair in pairs]] = False
        score = np.full(len(nets.names), nan)
        if everyone is not None:
            score[nets.with_answers] = everyone.accuracy
        images = everyone.images if everyone is not None else 0
        front_names = [column.name for column in front]
        facts: dict[str, Any] = {
            "choice": made.decision.choice,
            "reason": made.decision.reason,
            "settled": bool(made.decision.choice) and made.decision.enough,
            "cut": _cut_advice(nets.byname.get(made.decision.choice, {})),
            "evidence": nets.evidence.kind,
            "decided by": made.source,
            "images": made.paired.images if made.paired is not None else images,
            "not judged": [name for place, name in enumerate(nets.names) if place not in nets.with_answers],
            "imbalance": nets.evidence.imbalance if nets.evidence.by_class else 1.0,
            "in_turn": _timed_in_turn(prices, nets.with_answers),
            "front criteria": front_names,
            "details": [*made.lines, *wording.domination_line(pairs, nets.names, front_names), *wording.prior_lines(prior)],
            "sections": list(
                dict.fromkeys(name for own in nets.byname.values() for name in own if name in _used(front, wishes, nets))
            ),
        }
        arrays = (
            table_arrays(nets, prior, prices, price_label(nets.byname, self.price), made, score, on_front)
            | spread_arrays(nets, made, self.seed)
            | latency_arrays(prices, nets.names, made.judged, made.decision.best)
            | limit_arrays(made, nets.names, images)
            | domination_arrays(pairs, nets.names)
            | weight_arrays(made, nets.names)
            | side.size_arrays(nets.byname)
            | side.attention_arrays(nets.byname)
        )
        return Measurement(arrays, facts)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        scores = finding["score"]
        choice = finding.facts["choice"] or (str(scores.idxmax("specimen").item()) if scores.notnull().any() else "")
        at = {"specimen": choice} if choice else None

        def value(name: str) -> float:
            return nan if at is None else float(finding[name].sel(at))

        return [
            KeyNumber(name="accuracy of the choice", value=value("score"), low=value("score_low"), high=value("score_high"),
                      has_interval=True, unit=FRACTION, better="higher", at=choice),
            KeyNumber(name="loss against the most accurate", value=value("behind"), low=value("behind_low"), high=value("behind_high"),
                      has_interval=True, unit=FRACTION, better="lower", at=choice),
            KeyNumber(name="ranked first in bootstrap resamples", value=value("wins"), unit=FRACTION, better="higher", at=choice),
            KeyNumber(name="images", value=finding.facts["images"]),
            *([KeyNumber(name="latency over that of the most accurate", value=value("latency_over_best"),
                         low=value("latency_over_best_low"), high=value("latency_over_best_high"), better="lower", at=choice)]
              if "latency_over_best" in finding else []),
            KeyNumber(name="networks compared", value=int(np.isfinite(scores.values).sum())),
        ]  # fmt: skip

    def panels(self, finding: Finding) -> Sequence[Panel]:
        panels: list[Panel] = [
            Table(title="All networks", rows="specimen", columns=("rank", "family", "table", "wins", "front")),
        ]
        front = ", ".join(map(criterion_title, finding.facts["front criteria"]))
        if (np.isfinite(finding["score"].values) & np.isfinite(finding["price"].values)).any():
            panels.append(Scatter(
                title="Accuracy against cost", x="price", y="score", front="front", group="family", low="score_low", high="score_high",
                log="x", note=f"Ringed: the Pareto front of {front}. Bars: 95% intervals.",
            ))  # fmt: skip
        panels += choice_panels(finding)
        for name, title in (
            ("accuracy_by_size", "Accuracy by object size"),
            ("lift_by_size", "Localisation lift by object size"),
        ):
            if name in finding:
                note = "Object area as a fraction of the image. Lift: energy of the map inside the object beyond its area."
                panels.append(Curve(title=title, y=(name,), x="size", by="specimen", note=note))
        if "accuracy_by_clutter" in finding:
            panels.append(Curve(title="Accuracy by clutter", y=("accuracy_by_clutter",), x="clutter", by="specimen"))
        if "heat" in finding:
            panels.append(
                Overlay(
                    title="Grad-CAM of all networks", base="picture", heat="heat", across="specimen",
                    mask="mask" if "mask" in finding else "",
                    note="Grad-CAM of the predicted class at the deepest layer that can be judged, all on one grid.", question="understand",
                )
            )  # fmt: skip
        return panels

    def headline(self, finding: Finding) -> str:
        return str(finding.facts["reason"])

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            *finding.facts["details"],
            "Differences are between these networks on these images; two networks of a family make no law about the family.",
            "The order can change with the task: measure on images of the task.",
        ]
        if (imbalance := finding.facts["imbalance"]) > 1:
            lines.insert(0, "Balanced accuracy, the mean over the classes, is compared instead of top-1 accuracy: the largest class has "
                            f"{format_value(imbalance)} times the images of the smallest.")  # fmt: skip
        if finding.options["price"] == "time" and not finding.facts["in_turn"]:
            lines.append(
                "These latencies were not measured in turn, so they do not decide which network is cheaper; analyze all networks in "
                "one run."
            )
        if cut := finding.facts["cut"]:
            lines.append(cut)
        if left := finding.facts["not judged"]:
            lines.append(f"Not compared, being untrained or without an accuracy above chance: {name_list(left, 6)}.")
        return lines


def _gather_networks(findings: Sequence[Finding]) -> Networks:
    """The networks of these findings.

    Raises:
        Unmeasurable: no network, or answers on different images.
    """
    byname = group_by_specimen(findings, Compare.name())
    digests = {f.origin["images"]["digest"] for f in findings if f.origin.get("images") and f.analysis in ("accuracy", "probe")}
    if len(digests) > 1:
        raise Unmeasurable("compare needs networks measured on the same images; these findings come from different ones.")
    origins = [next(iter(own.values())).origin["specimen"] for own in byname.values()]
    trained = np.array([origin.get("trained") is not False for origin in origins])
    return Networks(list(byname), byname, trained, *side.gather_evidence(byname, trained))


def _used(front: Sequence[Any], wishes: Wishes, nets: Networks) -> set[str]:
    """The analyses whose numbers the recommendation rests on."""
    criteria = [column.criterion for column in front] + [limit.criterion for limit in wishes.limits]
    criteria += [criterion for criterion, _ in wishes.preferences]
    own = {"own head": "accuracy", "probe": "probe", "": "transfer"}[nets.evidence.kind]
    return {criterion.analysis or own for criterion in criteria} | {own, "cost"}


def _timed_in_turn(prices: Prices, judged: np.ndarray[Any, Any]) -> bool:
    """Whether all networks that were judged were timed in one session."""
    return prices.latency is not None and bool(np.isfinite(prices.latency.ratio[np.ix_(judged, judged)]).all())


def _cut_advice(findings: Mapping[str, Finding]) -> str:
    """Which block of the chosen network changes its input least, from its redundancy finding."""
    if "redundancy" not in findings:
        return ""
    finding = findings["redundancy"]
    below = np.flatnonzero(side.below_twins(finding))
    if not len(below):
        return "No block of it changes its input less than in every untrained twin, so no candidate for removal is named."
    first = int(below[np.argmin(finding["influence"].values[below])])
    influence, twins = (format_value(float(finding[name].values[first])) for name in ("influence", "twin_influence"))
    return (
        f"Candidate for removal: {finding['rank'].block.values[first]} (block influence {influence}, untrained twins {twins}); only "
        "removal proves it."
    )
