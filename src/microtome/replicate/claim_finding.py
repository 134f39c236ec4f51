"""The result of a claim as a finding, for the page that `microtome replicate CLAIM --out DIR` writes."""

from pathlib import Path

from microtome.errors import hint
from microtome.finding import Finding, array
from microtome.key_numbers import KeyNumber
from microtome.panels import Table
from microtome.prose import capitalise
from microtome.replicate.cards import ClaimCard
from microtome.replicate.results import ClaimResult
from microtome.report.html import write_report
from microtome.store import Store


def claim_finding(card: ClaimCard, result: ClaimResult, committed: ClaimResult | None) -> Finding:
    """The finding of a run: its effect as key number, the protocol and the numbers behind the effect as tables."""
    protocol = {
        "hypothesis": card.hypothesis, "effect": card.measure, "rule": card.rule.describe(), "null": card.null,
        "confounders": card.confounders, "known before": card.prior, result.preset: getattr(card, result.preset),
    }  # fmt: skip
    numbers = dict(result.rows) | {"effect": f"{result.text} ({result.covers})", "verdict": result.verdict}
    if committed is not None:
        numbers["committed result"] = f"{committed.text}: {committed.verdict} ({committed.date[:10]}, {committed.preset})"
    arrays = {
        "protocol": array(list(protocol.values()), ("criterion",), "text", {"criterion": list(protocol)}, "protocol"),
        "number": array(list(numbers.values()), ("measure",), "text", {"measure": list(numbers)}, "result"),
    }
    return Finding(
        analysis="replicate",
        arrays=arrays,
        panels=(
            Table(title="Result", columns=("number",), rows="measure"),
            Table(title="Protocol, fixed before the run", columns=("protocol",), rows="criterion"),
        ),
        key_numbers=(
            KeyNumber(name="effect", value=result.value, low=result.low, high=result.high, unit=result.unit, has_interval=True),
        ),
        headline=f"{capitalise(result.verdict)}: effect {result.text}; the claim {card.rule.describe()}.",
        caveats=(card.confounders, "The verdict is about these networks and images."),
        title=card.name,
        summary=card.sentence,
        source=card.source,
        origin={"specimen": {}, "key": result.digest, "findings": [], "started": result.date, "seconds": result.seconds},
    )


def write_claim_page(card: ClaimCard, result: ClaimResult, committed: ClaimResult | None, out: Path) -> Path:
    """Save the finding of a run below `out` and write the report of it; the path of the report comes back."""
    store = Store.create(out)
    place = store.save(claim_finding(card, result, committed))
    command = hint(f"microtome replicate {card.name} --out {out}", f"mt.replicate_claim({card.name!r}, out={str(out)!r})")
    store.write_run({
        "title": card.sentence, "answer": "replicate", "command": command,
        "findings": [place.relative_to(store.root).as_posix()], "failed": [],
        "skipped": [], "seconds": result.seconds, "started": result.date,
    })  # fmt: skip
    return write_report(store.root)
