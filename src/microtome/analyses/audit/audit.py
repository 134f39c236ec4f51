"""Which design faults a network has: broken weights, what kernels miss, norms, dropout, positions; each with evidence and repair.

Rules with stable ids are checked one by one: MT0xx broken weights, MT1xx receptive fields, MT2xx normalisation, MT3xx regularisation,
MT4xx heads, positions and gates. Most are exact, from shapes, from weights, or from a gradient at random weights; those that measure
do so on noise. What a rule finds is told once for all layers, with the evidence, the reason, the source, what the repair costs and
the edit or training setting that makes it. Where MT204 finds something, `gain(layer, amount)` holds its curves over the number of
groups, `groups_now`, `gain_now`, `groups_best` and `gain_best` what is and what is suggested. Rules are muted by --ignore MT101 or, for
some layers, --ignore "MT101:layer2.*".

`microtome audit NET --fix FILE` writes a copy with the edits that mend what was found and keep the function. What changes it (prelayernorm,
group_norm) is made where the weights are untrained, for nothing is lost; of trained weights the command is printed instead, since
they have to be trained after. Training settings are printed.

Source: the rules name theirs one by one: among them Kim et al., arXiv:2302.06112 (dropout), 2108.13576 (dead pixels), 2205.07260
(norm scales), 2111.08413 (colour scale), Richter et al., arXiv:2106.12307 (border layers); thresholds and what says "ours" are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np

from microtome.analyses.audit.gains import GainCurve
from microtome.analyses.audit.run import Outcome, audited
from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.panels import Bars, Curve, Panel, Question, Table
from microtome.prose import name_list
from microtome.scan import Pace
from microtome.specimen import Specimen

DRAWN = 6  # curves in one picture at most
TEXTS = ("severity", "evidence", "reason", "fix", "cost", "source", "edit")


@final
class Audit(Analysis):
    """Design rules of the literature, found, explained, fixable."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Design audit"
    revision: ClassVar[int] = 2

    ignore: tuple[str, ...] = option((), "rules that are not told, by id, or for some layers only, as MT101:layer2.*")

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        outcomes = audited(specimen, self.ignore)
        found = sorted(
            (one for one in outcomes if one.fault), key=lambda one: -["note", "warning", "error"].index(one.severity)
        )
        told = {"finding": [f"{one.rule.id} {one.rule.title}" for one in found]}
        arrays = {"rule": array(_texts([one.rule.id for one in found]), ("finding",), "text", told, "rule")}
        for name in TEXTS:
            arrays[name] = array(_texts([_text(one, name) for one in found]), ("finding",), "text", told, name)
        layers = [one.fault.layers if one.fault else () for one in found]
        arrays["layers"] = array(_texts([name_list(one) for one in layers]), ("finding",), "text", told, "layers")
        arrays["count"] = array(
            np.array([len(one) for one in layers], dtype=int), ("finding",), "layers", told, "number of layers"
        )
        places = [(one.rule.id, layer) for one, many in zip(found, layers, strict=True) for layer in many]
        arrays["place"] = array(_texts([layer for _, layer in places]), ("part",), "text", title="layer")
        arrays["place_rule"] = array(_texts([id for id, _ in places]), ("part",), "text", title="rule")
        ids = {"criterion": [one.rule.id for one in outcomes]}
        arrays["about"] = array(_texts([one.rule.title for one in outcomes]), ("criterion",), "text", ids, "rule")
        arrays["outcome"] = array(_texts([_outcome(one) for one in outcomes]), ("criterion",), "text", ids, "what came of it")
        arrays["checked"] = array([not one.unchecked for one in outcomes], ("criterion",), "yes or no", ids, "checked")
        arrays["muted"] = array(
            np.array([one.muted for one in outcomes], dtype=int), ("criterion",), "layers", ids, "muted layers"
        )
        curves = [curve for one in outcomes if one.fault for curve in one.fault.gains]
        return arrays | (_gains(curves) if curves else {})

    def panels(self, finding: Finding) -> Sequence[Panel]:
        found = finding.arrays
        shown: list[Panel] = []
        if found["rule"].size:
            shown += [
                Table(title="Findings", rows="finding", columns=("severity", "layers", "evidence"),
                      note="One line for each rule, however many layers it concerns; the worst first."),
                Bars(title="Layers by finding", y=("count",), x="finding", note="How many layers each finding concerns."),
                Table(title="What to do", rows="finding", columns=("fix", "cost", "reason", "source")),
            ]  # fmt: skip
        if "gain" in found:
            note = (
                "By how much layer, group norm and activation together multiply the gradient's power on its way back, for each "
                "number of groups (amount), on noise; 1 keeps it. The worst layer of MT204, and others with as many units."
            )
            shown += [
                Curve(title="Gradient gain by number of groups", y=("gain",), x="amount", by="layer", log="xy", note=note),
                Table(
                    title="Groups of each layer", rows="layer", columns=("groups_now", "gain_now", "groups_best", "gain_best")
                ),
            ]
        return [*shown, Table(title="All rules", rows="criterion", columns=("about", "outcome"))]

    def headline(self, finding: Finding) -> str:
        found = finding.arrays
        checked, count = int(found["checked"].sum()), found["rule"].size
        rules = f"{checked} rules checked" + (
            "" if bool(found["checked"].all()) else f" ({found['checked'].size - checked} could not be)"
        )
        if not count:
            return f"0 findings of {rules}: nothing wrong."
        parts = [
            f"{head} ({severity}, {layers} layer{'s' if layers > 1 else ''})"
            for head, severity, layers in zip(
                found["rule"].coords["finding"].values, found["severity"].values, found["count"].values, strict=True
            )
        ]
        return f"{count} finding{'s' if count > 1 else ''} of {rules}: {'; '.join(parts)}."

    def caveats(self, finding: Finding) -> Sequence[str]:
        found = finding.arrays
        said = [
            "MT1xx and MT201 to MT203 find the same in the untrained network: they speak of the design, not of what was learnt.",
            "A finding says that something can be better by the named source, not that mending it will raise your accuracy.",
        ]
        if "gain" in found:
            said.append(
                "MT204 is measured with these weights, the scales of the norms among them: trained ones may have other gains."
            )
        if muted := int(found["muted"].sum()):
            said.append(f"{muted} layers were left out as asked (ignore).")
        return said


def _gains(curves: Sequence[GainCurve]) -> dict[str, Any]:
    """The gain over the number of groups, of the worst layer and others with as many units; now and at best of all of them."""
    ranked = sorted(curves, key=lambda one: one.gap, reverse=True)
    amounts = sorted(ranked[0].gains)
    worst = [one for one in ranked if sorted(one.gains) == amounts][:DRAWN]  # the same divisors, so that lines have no holes
    values = np.array([[one.gains[groups] for groups in amounts] for one in worst])
    coords = {"layer": [one.layer for one in worst], "amount": amounts}
    layers = {"layer": [one.layer for one in curves]}
    pairs = {"now": [one.now for one in curves], "best": [one.best for one in curves]}
    arrays = {"gain": array(values, ("layer", "amount"), "1", coords, "gradient gain")}
    for when, groups in pairs.items():
        arrays[f"groups_{when}"] = array(np.array(groups, dtype=int), ("layer",), "groups", layers, f"groups {when}")
        gains = np.array([one.gains[count] for one, count in zip(curves, groups, strict=True)])
        arrays[f"gain_{when}"] = array(gains, ("layer",), "1", layers, f"gain {when}")
    return arrays


def _texts(values: Sequence[str]) -> Any:
    return np.array(values, dtype=object)


def _text(one: Outcome, name: str) -> str:
    assert one.fault is not None
    if name == "severity":
        return one.severity
    own = str(getattr(one.fault, name, ""))
    return own or str(getattr(one.rule, name, ""))


def _outcome(one: Outcome) -> str:
    if one.unchecked:
        return f"not checked: {one.unchecked}"
    if one.fault is None:
        return "nothing found" if not one.muted else "nothing but what is ignored"
    return f"{one.severity}, {len(one.fault.layers)} layers"
