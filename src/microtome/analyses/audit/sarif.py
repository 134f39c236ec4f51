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
    found: list[dict[str, Any]] = []
    for place, head in enumerate(finding["rule"].coords["finding"].values):
        said = {name: str(finding[name].values[place]) for name in names}
        layers = [layer for rule, layer in fault_locations(finding) if rule == said["rule"]]
        fresh = [layer for layer in layers if (said["rule"], layer) not in known]
        title = str(head).partition(" ")[2]
        found.append({**said, "title": title, "layers": layers, "new_layers": fresh, "new": bool(fresh)})
    return found


def audit_json(finding: Finding, known: Collection[RuleLocation] = ()) -> dict[str, Any]:
    """The audit as plain JSON values."""
    checked = {
        str(id): str(text)
        for id, text in zip(finding["outcome"].coords["criterion"].values, finding["outcome"].values, strict=True)
    }
    return {"specimen": finding.specimen, "line": finding.headline, "findings": fault_entries(finding, known), "rules": checked}


def sarif_log(finding: Finding, version: str, known: Collection[RuleLocation] = ()) -> dict[str, Any]:
    """The audit as a SARIF log of one run; layers are logical locations, the network stands for the file."""
    found = fault_entries(finding, known)
    rules = [
        {
            "id": one["rule"],
            "name": "".join(word.capitalize() for word in one["title"].split()),
            "shortDescription": {"text": one["title"]},
            "fullDescription": {"text": f"{one['reason']} Source: {one['source']}"},
            "help": {"text": f"{one['fix']} Cost: {one['cost']}"},
            "defaultConfiguration": {"level": one["severity"]},
        }
        for one in found
    ]
    results = [_sarif_result(one, index, finding.specimen) for index, one in enumerate(found)]
    driver = {"name": "microtome audit", "version": version, "rules": rules}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _sarif_result(one: dict[str, Any], index: int, specimen: str) -> dict[str, Any]:
    physical = {"artifactLocation": {"uri": quote(specimen, safe="/.-_")}}
    locations = [
        {"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": layer, "kind": "module"}]}
        for layer in one["layers"]
    ]
    return {
        "ruleId": one["rule"],
        "ruleIndex": index,
        "level": one["severity"],
        "message": {"text": f"{one['title']}: {one['evidence']}. {one['fix']}"},
        "locations": locations,
        "partialFingerprints": {"ruleAndLayers/v1": f"{one['rule']}:{','.join(one['layers'])}"},
        "baselineState": "new" if one["new"] else "unchanged",
    }
