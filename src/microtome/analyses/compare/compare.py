"""Many specimens side by side: one table, the Pareto front, and which to choose, with the reasons and how sure they are.

The recommendation is a rule, not a taste: among trained specimens measured on the same images, those whose accuracy cannot be told
from the best one's (paired bootstrap over the images) count as equal, and of equals the cheapest is named; where several cost
about the least (within a quarter of it), the most accurate of those. Without accuracy or probe, or with nothing trained, there is
no recommendation and the reason is given.

Source: paired bootstrap, Efron & Tibshirani 1993, ch. 16; the rule is ours. The study that asks these questions of six backbones:
Wu & Lee 2022, "Weight Distribution of Neural Networks in Computer Vision".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import xarray as xr

from microtome.analyses.compare import criteria as side
from microtome.analysis import Arrays, Collation, option
from microtome.errors import Unmeasurable
from microtome.finding import Finding, array
from microtome.numerics.statistics.choice import run_contest
from microtome.numerics.statistics.pareto import pareto_front
from microtome.panels import Curve, Overlay, Panel, Scatter, Table

COST = {"time": "time of a batch (ms per image)", "size": "parameters (1)", "operations": "multiply-adds (M per image)"}


EQUAL_COST_RATIO = 1.25  # prices within a quarter count as equal: times differ by that from run to run


@final
class Compare(Collation):
    """One table, one front, one recommendation."""

    needs = "findings"
    question = "choose"
    title = "Which to choose"

    price: Literal["time", "size", "operations"] = option("time", "what makes one of several equals the cheapest")
    seed: int = option(0, "of the bootstrap over images", low=0)

    def collate(self, findings: Sequence[Finding]) -> Arrays:
        byname = side.group_by_specimen(findings)
        names = list(byname)
        digests = {
            f.origin["images"]["digest"] for f in findings if f.origin.get("images") and f.analysis in ("accuracy", "probe")
        }
        if len(digests) > 1:
            raise Unmeasurable("compare needs specimens measured on the same images; these findings come from different ones.")
        told = {"specimen": names}
        facts = [next(iter(found.values())).origin["specimen"] for found in byname.values()]
        trained = np.array([fact.get("trained") is not False for fact in facts])
        columns = side.criterion_columns(byname)
        evidence, correct = side.gather_evidence(byname, trained)
        result = run_contest(correct[trained & evidence.known], seed=self.seed) if evidence.kind else None
        judged = np.flatnonzero(trained & evidence.known)
        price = columns.get(COST[self.price], np.full(len(names), np.nan))
        unit = COST[self.price].split("(")[1].rstrip(")")
        told_rank, choice, why = _recommend(names, judged, result, price, trained, evidence, unit)
        spread = {name: np.full(len(names), np.nan) for name in ("score", "behind", "behind_low", "behind_high", "wins")}
        if result is not None:
            for name in spread:
                spread[name][judged] = getattr(result, name)
        front = pareto_front(np.stack([spread["score"], price], axis=1), [True, False])
        arrays: dict[str, xr.DataArray] = {
            "table": array(
                np.stack(list(columns.values()), 1),
                ("specimen", "criterion"),
                "see criterion",
                told | {"criterion": list(columns)},
            ),
            "rank": array(told_rank, ("specimen",), "1", told, "rank"),
            "family": array([str(fact.get("family", "")) for fact in facts], ("specimen",), "text", told, "family"),
            "weights": array([str(fact.get("weights", "")) for fact in facts], ("specimen",), "text", told, "weights"),
            "price": array(price, ("specimen",), unit, told, COST[self.price].split(" (")[0]),
            "front": array(front, ("specimen",), "1", told, "on the Pareto front"),
            "score": array(spread["score"], ("specimen",), "share", told, evidence.kind or "accuracy"),
            "score_low": array(side.accuracy_bounds(byname, evidence.kind, "low"), ("specimen",), "share", told),
            "score_high": array(side.accuracy_bounds(byname, evidence.kind, "high"), ("specimen",), "share", told),
            "behind": array(spread["behind"], ("specimen",), "share", told, "behind the best"),
            "behind_low": array(spread["behind_low"], ("specimen",), "share", told),
            "behind_high": array(spread["behind_high"], ("specimen",), "share", told),
            "wins": array(spread["wins"], ("specimen",), "share", told, "best in this share of redrawn image sets"),
            "choice": array(
                [choice, why, _cut_advice(byname.get(choice, {}))],
                ("criterion",),
                "text",
                {"criterion": ["choice", "reason", "cut"]},
            ),
        }
        return arrays | side.size_arrays(byname) | side.attention_arrays(byname)

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        panels: list[Panel] = [
            Table(title="All specimens", rows="specimen", columns=("rank", "family", "table", "wins", "front")),
        ]
        if not np.isnan(found["score"].values).all():
            panels.append(Scatter(
                title="Accuracy against price", x="price", y="score", front="front", group="family", low="score_low", high="score_high",
                log="x", note="Ringed: no other specimen is both more accurate and cheaper. Bars: 95 % intervals.",
            ))  # fmt: skip
        for name, title in (
            ("accuracy_by_size", "Accuracy by object size"),
            ("lift_by_size", "Localisation lift by object size"),
        ):
            if name in found:
                note = "Object area as a share of the image. Lift: energy of the map inside the object beyond its area share."
                panels.append(Curve(title=title, y=(name,), x="size", by="specimen", note=note))
        if "accuracy_by_clutter" in found:
            panels.append(Curve(title="Accuracy by clutter", y=("accuracy_by_clutter",), x="clutter", by="specimen"))
        if "heat" in found:
            panels.append(
                Overlay(
                    title="What each looks at", base="picture", heat="heat", across="specimen", mask="mask" if "mask" in found else "",
                    note="Grad-CAM of the predicted class at the deepest layer that can be judged, all on one grid.", question="understand",
                )
            )  # fmt: skip
        return panels

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        choice, why, cut = found["choice"].values
        start = f"Choose {choice}: {why}" if choice else f"No recommendation: {why}"
        return f"{start} {cut}".strip()

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "Two networks of a family do not make a law about the family: differences here are between these specimens on these images.",
            "Where specimens were trained on other data than these images resemble, their order can change with the task; "
            "measure on images of the task.",
        ]
        missing = [str(c) for c in found["table"].criterion.values if np.isnan(found["table"].sel(criterion=c).values).all()]
        return said + ([f"Not known for any specimen: {', '.join(missing)}."] if missing else [])


def _recommend(
    names: list[str], judged: np.ndarray[Any, Any], result: Any, price: np.ndarray[Any, Any], trained: np.ndarray[Any, Any],
    evidence: side.Evidence, unit: str,
) -> tuple[np.ndarray[Any, Any], str, str]:  # fmt: skip
    """Ranks (NaN for those not judged), the chosen name or "", and the reason."""
    rank = np.full(len(names), np.nan)
    if not trained.any():
        return rank, "", "none of the specimens is trained, and what random weights do says nothing about a backbone."
    if result is None or np.isnan(result.score).all():
        return (
            rank,
            "",
            "no accuracy and no probe above chance could be measured (labelled images, several of each class, are needed), "
            "and size alone is no reason.",
        )
    cost = np.nan_to_num(price[judged], nan=np.inf)
    near = cost <= EQUAL_COST_RATIO * cost[result.equal].min()
    # Equals that cost about the least, by accuracy; then the dearer equals, by cost; then the rest, by accuracy.
    group = np.where(~result.equal, 2, np.where(near, 0, 1))
    order = np.lexsort((np.where(group == 1, cost, result.behind), group))
    rank[judged[order]] = np.arange(1, len(order) + 1)
    if len(judged) < 2:
        return rank, "", f"only {names[judged[0]]} could be judged; a choice needs at least two."
    first, best = int(order[0]), int(np.argmax(result.score))
    name, score = names[judged[first]], f"{100 * result.score[first]:.1f} %"
    rivals = [names[judged[one]] for one in range(len(judged)) if result.equal[one] and one != first]
    if first == best:
        reason = f"its {evidence.kind} is right most often ({score})"
        if rivals:
            reason += f", and none of those not told apart from it ({', '.join(rivals)}) is more than a quarter cheaper"
    else:
        reason = (
            f"its {evidence.kind} is right on {score}, not told apart from the best, {names[judged[best]]} "
            f"({100 * result.score[best]:.1f} %; behind by {100 * result.behind[first]:.1f} points, 95 % interval "
            f"{100 * result.behind_low[first]:.1f} to {100 * result.behind_high[first]:.1f}), and it is cheaper "
            f"({price[judged[first]]:.3g} against {price[judged[best]]:.3g} {unit})"
        )
    left = [names[one] for one in range(len(names)) if one not in judged]
    said = f"{reason}; it is the best in {100 * result.wins[first]:.0f} % of redrawn image sets."
    return rank, name, said + (f" Not judged: {', '.join(left)}." if left else "")


def _cut_advice(found: Mapping[str, Finding]) -> str:
    """Where the chosen one might be cut, from its redundancy finding."""
    if "redundancy" not in found:
        return ""
    finding = found["redundancy"]
    less = np.flatnonzero(side.below_twins(finding))
    if not len(less):
        return "Nowhere to cut is shown: none of its blocks changes less than in all of its untrained twins."
    first = int(less[np.argmin(finding["influence"].values[less])])
    return (
        f"If it must be slimmed, try {finding['rank'].block.values[first]} first (block influence "
        f"{finding['influence'].values[first]:.3f}, untrained twins {finding['twin_influence'].values[first]:.3f}); only removal proves it."
    )
