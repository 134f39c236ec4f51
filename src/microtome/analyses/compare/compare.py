"""Networks side by side: one table, the Pareto front, and a recommendation with its evidence.

The recommendation is a rule. Among trained networks measured on the same images, a cheaper one is recommended only where the interval
of its loss shows it at most `margin` less accurate than every other network (paired differences, simultaneous over all pairs);
where several cost about the least (within a quarter of it), the most accurate of those. Otherwise the most accurate one is named: as
significantly better, or with the statement that the evidence is not enough and the number of images that would decide. Without
accuracy or probe, or with no trained network, there is no recommendation.

Source: simultaneous intervals, Hsu 1996, "Multiple Comparisons", ch. 5; the rule is ours. The study that asks these questions of six
backbones: Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision".
"""

from collections.abc import Mapping, Sequence
from math import nan
from typing import Literal, final

import numpy as np
import xarray as xr

from microtome.analyses.compare import criteria as side
from microtome.analyses.compare.decision import decide
from microtome.analysis import Collation, Measurement, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.key_numbers import FRACTION, KeyNumber, format_value
from microtome.numerics.statistics.choice import win_fractions
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
    revision = 2

    price: Literal["time", "size", "operations"] = option("time", "cost that decides between networks of similar accuracy")
    margin: float = option(0.01, "largest loss of accuracy accepted for a cheaper network, fraction", low=0.0, high=0.5)
    seed: int = option(0, "seed of the bootstrap over images", low=0)

    def collate(self, findings: Sequence[Finding]) -> Measurement:
        byname = side.group_by_specimen(findings)
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
        paired = compare_paired(correct[judged], seed=self.seed) if evidence.kind else None
        price, price_name, unit = side.costs(byname, self.price)
        decision = decide(names, judged, paired, price, trained, self.margin)
        spread = {name: np.full(len(names), np.nan) for name in ("score", "behind", "behind_low", "behind_high", "wins")}
        if paired is not None and (best := decision.best) is not None:
            values = {"score": paired.accuracy, "wins": win_fractions(correct[judged], seed=self.seed), "behind": paired.loss[:, best],
                      "behind_low": paired.low[:, best], "behind_high": paired.high[:, best]}  # fmt: skip
            for name, value in values.items():
                spread[name][judged] = value
        front = pareto_front(np.stack([spread["score"], price], axis=1), [True, False])
        table = np.stack(list(columns.values()), 1)
        arrays: dict[str, xr.DataArray] = {
            "table": array(table, ("specimen", "criterion"), "see criterion", coords | {"criterion": list(columns)}),
            "rank": array(decision.rank, ("specimen",), "1", coords, "rank"),
            "family": array([str(origin.get("family", "")) for origin in origins], ("specimen",), "text", coords, "family"),
            "weights": array([str(origin.get("weights", "")) for origin in origins], ("specimen",), "text", coords, "weights"),
            "price": array(price, ("specimen",), unit, coords, price_name),
            "front": array(front, ("specimen",), "1", coords, "on the Pareto front"),
            "score": array(spread["score"], ("specimen",), "fraction", coords, evidence.kind or "accuracy"),
            "score_low": array(side.accuracy_bounds(byname, evidence.kind, "low"), ("specimen",), "fraction", coords),
            "score_high": array(side.accuracy_bounds(byname, evidence.kind, "high"), ("specimen",), "fraction", coords),
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
        arrays |= side.size_arrays(byname) | side.attention_arrays(byname)
        return Measurement(arrays, facts)

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        scores = finding["score"]
        choice = finding.facts["choice"] or (str(scores.idxmax("specimen").item()) if scores.notnull().any() else "")
        at = {"specimen": choice} if choice else None

        def value(name: str) -> float:
            return nan if at is None else float(finding[name].sel(at))

        return [
            KeyNumber(name="accuracy of the choice", value=value("score"), low=value("score_low"), high=value("score_high"),
                      unit=FRACTION, better="higher", at=choice),
            KeyNumber(name="loss against the most accurate", value=value("behind"), low=value("behind_low"), high=value("behind_high"),
                      unit=FRACTION, better="lower", at=choice),
            KeyNumber(name="ranked first in bootstrap resamples", value=value("wins"), unit=FRACTION, better="higher", at=choice),
            KeyNumber(name="images", value=finding.facts["images"]),
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
        if cut := finding.facts["cut"]:
            lines.append(cut)
        if left := finding.facts["not judged"]:
            lines.append(f"Not compared, being untrained or without an accuracy above chance: {name_list(left, 6)}.")
        return lines


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
