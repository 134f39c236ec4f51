"""Networks side by side: one table, the Pareto front, and a recommendation.

The recommendation is a rule. Among trained networks measured on the same images, a cheaper one is recommended only where the interval
of its loss shows it at most `margin` less accurate than every other network (paired differences, simultaneous over all pairs); of
several that cost about the least (nobody saves a fifth of their cost), the most accurate. Otherwise the most accurate one is named: as
significantly better, or with the statement that the evidence is not enough and the number of images that would decide. Without
accuracy or probe, or with no trained network, there is no recommendation.

By latency a network is cheaper only where both were timed in turn in one run and the interval of their ratio excludes 1; otherwise
fewer parameters decide, then fewer operations, and the sentence says which. Where the largest class has more than 1.5 times the images
of the smallest, balanced accuracy (the mean over classes) is compared instead of top-1 accuracy.

Source: balanced accuracy, Brodersen et al. 2010; score intervals of paired differences, Tango 1998, held together by the studentised
range, Hsu 1996, "Multiple Comparisons", ch. 5; the rule is ours. The study that asks these questions of six backbones: Wu & Lee 2022,
"Weight Distribution of Neural Networks in Computer Vision".
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Any, Literal, final

import numpy as np
import xarray as xr

from microtome.analyses.compare import criteria as side
from microtome.analyses.compare.decision import decide
from microtome.analyses.compare.prices import Prices, gather_prices, price_label
from microtome.analysis import Collation, Measurement, group_by_specimen, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.balanced_pairs import compare_balanced
from microtome.numerics.statistics.choice import first_rank_rate
from microtome.numerics.statistics.equivalence import compare_paired
from microtome.numerics.statistics.pareto import pareto_front
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
    revision = 3  # 3: latencies compared in turn, balanced accuracy for imbalanced classes, score intervals

    price: Literal["time", "size", "operations"] = option("time", "cost that decides between networks of similar accuracy")
    margin: float = option(0.01, "largest loss of accuracy accepted for a cheaper network, fraction", low=0.0, high=0.5)
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def collate(self, findings: Sequence[Finding]) -> Measurement:
        byname = group_by_specimen(findings, self.name())
        names = list(byname)
        digests = {
            f.origin["images"]["digest"] for f in findings if f.origin.get("images") and f.analysis in ("accuracy", "probe")
        }
        if len(digests) > 1:
            raise Unmeasurable("compare needs networks measured on the same images; these findings come from different ones.")
        coords = {"specimen": names}
        origins = [next(iter(own.values())).origin["specimen"] for own in byname.values()]
        trained = np.array([origin.get("trained") is not False for origin in origins])
        columns = side.criterion_columns(byname)
        evidence, correct = side.gather_evidence(byname, trained)
        judged = np.flatnonzero(trained & evidence.known)
        classes = evidence.labels if evidence.by_class else None
        wins = first_rank_rate(correct[judged], seed=self.seed, classes=classes) if evidence.kind else None
        paired = None
        if evidence.kind:
            own = correct[judged]
            paired = compare_paired(own) if classes is None else compare_balanced(own, classes, seed=self.seed)
        prices, (price_name, unit) = gather_prices(byname, self.price), price_label(byname, self.price)
        decision = decide(names, judged, paired, prices, trained, self.margin, "balanced " if evidence.by_class else "")
        spread = {name: np.full(len(names), np.nan) for name in ("score", "behind", "behind_low", "behind_high", "wins")}
        if wins is not None and paired is not None and (best := decision.best) is not None:
            values = {"score": paired.accuracy, "wins": wins, "behind": paired.loss[:, best],
                      "behind_low": paired.low[:, best], "behind_high": paired.high[:, best]}  # fmt: skip
            for name, value in values.items():
                spread[name][judged] = value
        front = pareto_front(np.stack([spread["score"], prices.values], axis=1), [True, False])
        table = np.stack(list(columns.values()), 1)
        score_name = f"{'balanced, ' if evidence.by_class else ''}{evidence.kind or 'accuracy'}"
        arrays: dict[str, xr.DataArray] = {
            "table": array(table, ("specimen", "criterion"), "see criterion", coords | {"criterion": list(columns)}),
            "rank": array(decision.rank, ("specimen",), "1", coords, "rank"),
            "family": array([str(origin.get("family", "")) for origin in origins], ("specimen",), "text", coords, "family"),
            "weights": array([str(origin.get("weights", "")) for origin in origins], ("specimen",), "text", coords, "weights"),
            "price": array(prices.values, ("specimen",), unit, coords, price_name),
            "front": array(front, ("specimen",), "1", coords, "on the Pareto front"),
            "score": array(spread["score"], ("specimen",), "fraction", coords, score_name),
            "score_low": array(side.accuracy_bounds(byname, evidence, "low"), ("specimen",), "fraction", coords),
            "score_high": array(side.accuracy_bounds(byname, evidence, "high"), ("specimen",), "fraction", coords),
            "behind": array(spread["behind"], ("specimen",), "fraction", coords, "loss against the most accurate"),
            "behind_low": array(spread["behind_low"], ("specimen",), "fraction", coords),
            "behind_high": array(spread["behind_high"], ("specimen",), "fraction", coords),
            "wins": array(spread["wins"], ("specimen",), "fraction", coords, "ranked first in bootstrap resamples"),
        }
        facts = {
            "choice": decision.choice,
            "reason": decision.reason,
            "cut": _cut_advice(byname.get(decision.choice, {})),
            "evidence": evidence.kind,
            "images": paired.images if paired is not None else 0,
            "not judged": [name for place, name in enumerate(names) if place not in judged],
        }
        facts |= {"imbalance": evidence.imbalance if evidence.by_class else 1.0, "in_turn": _timed_in_turn(prices, judged)}
        arrays |= (
            _latency_arrays(prices, names, judged, decision.best) | side.size_arrays(byname) | side.attention_arrays(byname)
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
        if not np.isnan(finding["score"].values).all():
            panels.append(Scatter(
                title="Accuracy against cost", x="price", y="score", front="front", group="family", low="score_low", high="score_high",
                log="x", note="Ringed: no other network is both more accurate and cheaper. Bars: 95% intervals.",
            ))  # fmt: skip
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


def _timed_in_turn(prices: Prices, judged: np.ndarray[Any, Any]) -> bool:
    """Whether all networks that were judged were timed in one session."""
    return prices.latency is not None and bool(np.isfinite(prices.latency.ratio[np.ix_(judged, judged)]).all())


def _latency_arrays(
    prices: Prices, names: list[str], judged: np.ndarray[Any, Any], best: int | None
) -> dict[str, xr.DataArray]:
    """Ratios of the latencies of all pairs, and those to the most accurate network; nothing where none was timed in turn."""
    if prices.latency is None or np.isfinite(prices.latency.ratio).sum() <= len(names):
        return {}
    pairs, title = {"specimen": names, "specimen_": names}, "latency over that of the other"
    arrays: dict[str, xr.DataArray] = {}
    for end, values in zip(("", "_low", "_high"), prices.latency, strict=True):
        arrays[f"latency_ratio{end}"] = array(values, ("specimen", "specimen_"), "1", pairs, title)
        if best is not None:
            arrays[f"latency_over_best{end}"] = array(
                values[:, judged[best]], ("specimen",), "1", {"specimen": names}, "latency over that of the most accurate"
            )
    return arrays


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
