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
    revision: ClassVar[int] = 4  # 4: fractions in per cent, three significant digits
    command: ClassVar[str] = "microtome.cli.auditing:with_audit_options"  # its command has outputs of its own

    ignore: tuple[str, ...] = option((), "rules to ignore, by id, or for some layers only: MT101:layer2.*")

    def workload(self, specimen: Specimen, images: Images | None) -> Workload:
        return Workload(forward=10.0, backward=4.0, seconds=1.0 + 3e-8 * sum(p.numel() for p in specimen.net.parameters()))

    def measure(self, specimen: Specimen, images: Images | None, pace: Pace) -> Arrays:
        outcomes = run_audit(specimen, self.ignore)
        faulty = sorted(
            (outcome for outcome in outcomes if outcome.fault),
            key=lambda outcome: -["note", "warning", "error"].index(outcome.severity),
        )
        by_finding = {"finding": [f"{outcome.rule.id} {outcome.rule.title}" for outcome in faulty]}
        arrays = {"rule": array(_text_array([outcome.rule.id for outcome in faulty]), ("finding",), "text", by_finding, "rule")}
        for name in TEXTS:
            arrays[name] = array(
                _text_array([_text(outcome, name) for outcome in faulty]), ("finding",), "text", by_finding, name
            )
        layers = [outcome.fault.layers if outcome.fault else () for outcome in faulty]
        arrays["layers"] = array(
            _text_array([name_list(names) for names in layers]), ("finding",), "text", by_finding, "layers"
        )
        arrays["count"] = array(
            np.array([len(names) for names in layers], dtype=int), ("finding",), "layers", by_finding, "number of layers"
        )
        places = [(outcome.rule.id, layer) for outcome, many in zip(faulty, layers, strict=True) for layer in many]
        arrays["place"] = array(_text_array([layer for _, layer in places]), ("part",), "text", title="layer")
        arrays["place_rule"] = array(_text_array([id for id, _ in places]), ("part",), "text", title="rule")
        ids = {"criterion": [outcome.rule.id for outcome in outcomes]}
        arrays["about"] = array(_text_array([outcome.rule.title for outcome in outcomes]), ("criterion",), "text", ids, "rule")
        arrays["outcome"] = array(
            _text_array([_outcome_text(outcome) for outcome in outcomes]), ("criterion",), "text", ids, "outcome"
        )
        arrays["checked"] = array([not outcome.unchecked for outcome in outcomes], ("criterion",), "yes or no", ids, "checked")
        arrays["muted"] = array(
            np.array([outcome.muted for outcome in outcomes], dtype=int), ("criterion",), "layers", ids, "muted layers"
        )
        curves = [curve for outcome in outcomes if outcome.fault for curve in outcome.fault.gains]
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
            return f"No finding from {plural(checked, 'rule')} checked."
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
    ranked = sorted(curves, key=lambda curve: curve.gap, reverse=True)
    amounts = sorted(ranked[0].gains)
    worst = [curve for curve in ranked if sorted(curve.gains) == amounts][
        :MAX_CURVES
    ]  # the same divisors, so that lines have no holes
    values = np.array([[curve.gains[groups] for groups in amounts] for curve in worst])
    coords = {"layer": [curve.layer for curve in worst], "amount": amounts}
    layers = {"layer": [curve.layer for curve in curves]}
    pairs = {"now": [curve.now for curve in curves], "best": [curve.best for curve in curves]}
    arrays = {"gain": array(values, ("layer", "amount"), "1", coords, "gradient gain")}
    for when, groups in pairs.items():
        arrays[f"groups_{when}"] = array(np.array(groups, dtype=int), ("layer",), "groups", layers, f"groups {when}")
        gains = np.array([curve.gains[count] for curve, count in zip(curves, groups, strict=True)])
        arrays[f"gain_{when}"] = array(gains, ("layer",), "1", layers, f"gain {when}")
    return arrays


def _text_array(values: Sequence[str]) -> Any:
    return np.array(values, dtype=object)


def _text(outcome: RuleOutcome, name: str) -> str:
    assert outcome.fault is not None
    if name == "severity":
        return outcome.severity
    own = str(getattr(outcome.fault, name, ""))
    return own or str(getattr(outcome.rule, name, ""))


def _outcome_text(outcome: RuleOutcome) -> str:
    if outcome.unchecked:
        return f"not checked: {outcome.unchecked}"
    if outcome.fault is None:
        return "nothing found" if not outcome.muted else "nothing but what is ignored"
    return f"{outcome.severity}, {plural(len(outcome.fault.layers), 'layer')}"
