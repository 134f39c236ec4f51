"""What an audit found as SARIF 2.1.0 and as plain JSON, for the tools that read such files. Made of a finding, without torch."""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from microtome.finding import Finding

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RuleLocation = tuple[str, str]  # rule, layer


def fault_locations(finding: Finding) -> list[RuleLocation]:
    """Every (rule, layer) that the audit found."""
    rules, layers = finding["place_rule"].values, finding["place"].values
    return [(str(rule), str(layer)) for rule, layer in zip(rules, layers, strict=True)]


def fault_entries(finding: Finding, known: Collection[RuleLocation] = ()) -> list[dict[str, Any]]:
    """One dictionary for each rule that found something; `new` says whether any of its layers is not among the `known`."""
    names = ("rule", "severity", "evidence", "reason", "fix", "cost", "source", "edit")
    entries: list[dict[str, Any]] = []
    for place, head in enumerate(finding["rule"].coords["finding"].values):
        texts = {name: str(finding[name].values[place]) for name in names}
        layers = [layer for rule, layer in fault_locations(finding) if rule == texts["rule"]]
        fresh = [layer for layer in layers if (texts["rule"], layer) not in known]
        title = str(head).partition(" ")[2]
        entries.append({**texts, "title": title, "layers": layers, "new_layers": fresh, "new": bool(fresh)})
    return entries


def audit_json(finding: Finding, known: Collection[RuleLocation] = ()) -> dict[str, Any]:
    """The audit as plain JSON values."""
    checked = {
        str(id): str(text)
        for id, text in zip(finding["outcome"].coords["criterion"].values, finding["outcome"].values, strict=True)
    }
    return {"specimen": finding.specimen, "line": finding.headline, "findings": fault_entries(finding, known), "rules": checked}


def sarif_log(finding: Finding, version: str, known: Collection[RuleLocation] = ()) -> dict[str, Any]:
    """The audit as a SARIF log of one run; layers are logical locations, the network stands for the file."""
    entries = fault_entries(finding, known)
    rules = [
        {
            "id": entry["rule"],
            "name": "".join(word.capitalize() for word in entry["title"].split()),
            "shortDescription": {"text": entry["title"]},
            "fullDescription": {"text": f"{entry['reason']} Source: {entry['source']}"},
            "help": {"text": f"{entry['fix']} Cost: {entry['cost']}"},
            "defaultConfiguration": {"level": entry["severity"]},
        }
        for entry in entries
    ]
    results = [_sarif_result(entry, index, finding.specimen) for index, entry in enumerate(entries)]
    driver = {"name": "microtome audit", "version": version, "rules": rules}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _sarif_result(entry: dict[str, Any], index: int, specimen: str) -> dict[str, Any]:
    physical = {"artifactLocation": {"uri": quote(specimen, safe="/.-_")}}
    locations = [
        {"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": layer, "kind": "module"}]}
        for layer in entry["layers"]
    ]
    return {
        "ruleId": entry["rule"],
        "ruleIndex": index,
        "level": entry["severity"],
        "message": {"text": f"{entry['title']}: {entry['evidence']}. {entry['fix']}"},
        "locations": locations,
        "partialFingerprints": {"ruleAndLayers/v1": f"{entry['rule']}:{','.join(entry['layers'])}"},
        "baselineState": "new" if entry["new"] else "unchanged",
    }
