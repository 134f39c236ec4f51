"""Design faults: broken weights, receptive fields, normalisation, dropout, heads; with evidence and repair.

Rules with stable ids are checked one by one: MT0xx broken weights, MT1xx receptive fields, MT2xx normalisation, MT3xx regularisation,
MT4xx heads, positions and gates. Most are exact, from shapes, from weights, or from a gradient at random weights; the others measure
on noise. Each finding lists its layers, the evidence, the reason, the source, the cost of the repair and the edit or training
setting that makes it. MT204 adds `gain(layer, amount)`, the gradient gain over the number of groups, with the present and the
suggested number (`groups_now`, `gain_now`, `groups_best`, `gain_best`). Ignore a rule with --ignore MT101, or for some layers with
--ignore "MT101:layer2.*".

`microtome audit NET --fix FILE` writes a copy with the edits that repair findings and preserve the function. Edits that change it
(prelayernorm, group_norm) are applied to untrained weights only; for trained weights the command is printed instead, since the
network has to be trained afterwards. Training settings are printed.

Source: each rule names its own, among them Kim et al., arXiv:2302.06112 (dropout), 2108.13576 (dead pixels), 2205.07260 (norm
scales), 2111.08413 (colour scale), Richter et al., arXiv:2106.12307 (border layers); thresholds, and what is marked "ours", are ours.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np

from microtome.analyses.audit.gains import GainCurve
from microtome.analyses.audit.run import RuleOutcome, run_audit
from microtome.analysis import Analysis, Arrays, Needs, option
from microtome.finding import Finding, array
from microtome.images import Images
from microtome.key_numbers import KeyNumber
from microtome.panels import Bars, Curve, Panel, Question, Table
from microtome.prose import name_list, plural
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.workload import Effort, Workload

MAX_CURVES = 6  # in one figure
TEXTS = ("severity", "evidence", "reason", "fix", "cost", "source", "edit")


@final
class Audit(Analysis):
    """Design rules of the literature, checked one by one."""

    needs: ClassVar[Needs] = "weights"
    question: ClassVar[Question] = "repair"
    title: ClassVar[str] = "Design audit"
    rank: ClassVar[int] = 8
    effort: ClassVar[Effort] = "quick"
    revision: ClassVar[int] = 3
    command: ClassVar[str] = "microtome.cli.auditing:with_audit_options"  # its command has outputs of its own

    ignore: tuple[str, ...] = option((), "rules to ignore, by id, or for some layers only: MT101:layer2.*")

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=10.0, backward=4.0, seconds=1.0 + 3e-8 * sum(p.numel() for p in specimen.net.parameters()))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        outcomes = run_audit(specimen, self.ignore)
        found = sorted(
            (one for one in outcomes if one.fault), key=lambda one: -["note", "warning", "error"].index(one.severity)
        )
        told = {"finding": [f"{one.rule.id} {one.rule.title}" for one in found]}
        arrays = {"rule": array(_text_array([one.rule.id for one in found]), ("finding",), "text", told, "rule")}
        for name in TEXTS:
            arrays[name] = array(_text_array([_text(one, name) for one in found]), ("finding",), "text", told, name)
        layers = [one.fault.layers if one.fault else () for one in found]
        arrays["layers"] = array(_text_array([name_list(one) for one in layers]), ("finding",), "text", told, "layers")
        arrays["count"] = array(
            np.array([len(one) for one in layers], dtype=int), ("finding",), "layers", told, "number of layers"
        )
        places = [(one.rule.id, layer) for one, many in zip(found, layers, strict=True) for layer in many]
        arrays["place"] = array(_text_array([layer for _, layer in places]), ("part",), "text", title="layer")
        arrays["place_rule"] = array(_text_array([id for id, _ in places]), ("part",), "text", title="rule")
        ids = {"criterion": [one.rule.id for one in outcomes]}
        arrays["about"] = array(_text_array([one.rule.title for one in outcomes]), ("criterion",), "text", ids, "rule")
        arrays["outcome"] = array(_text_array([_outcome_text(one) for one in outcomes]), ("criterion",), "text", ids, "outcome")
        arrays["checked"] = array([not one.unchecked for one in outcomes], ("criterion",), "yes or no", ids, "checked")
        arrays["muted"] = array(
            np.array([one.muted for one in outcomes], dtype=int), ("criterion",), "layers", ids, "muted layers"
        )
        curves = [curve for one in outcomes if one.fault for curve in one.fault.gains]
        return arrays | (_gains(curves) if curves else {})

    def key_numbers(self, finding: Finding) -> Sequence[KeyNumber]:
        severity = [str(value) for value in finding["severity"].values]
        checked = int(finding["checked"].sum())
        return [
            KeyNumber(name="findings", value=len(severity), better="lower"),
            KeyNumber(name="errors", value=severity.count("error"), better="lower"),
            KeyNumber(name="warnings", value=severity.count("warning"), better="lower"),
            KeyNumber(name="rules checked", value=checked, better="higher"),
            KeyNumber(name="rules not checked", value=finding["checked"].size - checked, better="lower"),
        ]

    def panels(self, finding: Finding) -> Sequence[Panel]:
        shown: list[Panel] = []
        if finding["rule"].size:
            shown += [
                Table(title="Findings", rows="finding", columns=("severity", "layers", "evidence"),
                      note="One row per rule, however many layers it concerns; the most severe first."),
                Bars(title="Layers by finding", y=("count",), x="finding", note="Number of layers that each finding concerns."),
                Table(title="Repairs", rows="finding", columns=("fix", "cost", "reason", "source")),
            ]  # fmt: skip
        if "gain" in finding:
            note = (
                "Factor by which layer, group norm and activation multiply the power of the gradient on the backward pass, by number "
                "of groups, on noise; 1 preserves it. The worst layer of MT204 and others with as many units."
            )
            shown += [
                Curve(title="Gradient gain by number of groups", y=("gain",), x="amount", by="layer", log="xy", note=note),
                Table(
                    title="Groups of each layer", rows="layer", columns=("groups_now", "gain_now", "groups_best", "gain_best")
                ),
            ]
        return [*shown, Table(title="All rules", rows="criterion", columns=("about", "outcome"))]

    def headline(self, finding: Finding) -> str:
        count, checked = int(finding.key("findings").value), int(finding.key("rules checked").value)
        if not count:
            return f"0 findings from {plural(checked, 'rule')} checked."
        worst, layers = finding["rule"].coords["finding"].values[0], int(finding["count"].values[0])
        return f"{plural(count, 'finding')} from {checked} rules; most severe: {worst} ({plural(layers, 'layer')})."

    def caveats(self, finding: Finding) -> Sequence[str]:
        lines = [
            "MT1xx and MT201 to MT203 give the same for the untrained network: they concern the design, not what was learnt.",
            "A finding means that the named source recommends a change, not that the repair will raise your accuracy.",
        ]
        if "gain" in finding:
            lines.append("MT204 is measured with these weights; other weights may have other gains.")
        if muted := int(finding["muted"].sum()):
            lines.append(f"{plural(muted, 'layer')} ignored as asked (ignore).")
        unchecked = [str(rule) for rule in finding["checked"].criterion.values[~finding["checked"].values]]
        if unchecked:
            lines.append(f"Not checked, for the reason in the table of all rules: {', '.join(unchecked)}.")
        return lines


def _gains(curves: Sequence[GainCurve]) -> dict[str, Any]:
    """The gain over the number of groups, of the worst layer and others with as many units; now and at best of all of them."""
    ranked = sorted(curves, key=lambda one: one.gap, reverse=True)
    amounts = sorted(ranked[0].gains)
    worst = [one for one in ranked if sorted(one.gains) == amounts][
        :MAX_CURVES
    ]  # the same divisors, so that lines have no holes
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


def _text_array(values: Sequence[str]) -> Any:
    return np.array(values, dtype=object)


def _text(one: RuleOutcome, name: str) -> str:
    assert one.fault is not None
    if name == "severity":
        return one.severity
    own = str(getattr(one.fault, name, ""))
    return own or str(getattr(one.rule, name, ""))


def _outcome_text(one: RuleOutcome) -> str:
    if one.unchecked:
        return f"not checked: {one.unchecked}"
    if one.fault is None:
        return "nothing found" if not one.muted else "nothing but what is ignored"
    return f"{one.severity}, {plural(len(one.fault.layers), 'layer')}"
