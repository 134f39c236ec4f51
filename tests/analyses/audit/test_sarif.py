"""What an audit found as SARIF and as JSON: the standard, the entries by hand, and what is known already."""

import json
import re
from pathlib import Path

import numpy as np

import microtome as mt
from microtome.analyses.audit import sarif
from microtome.analyses.audit.audit import Audit
from microtome.analyses.audit.run import RULES
from microtome.finding import Finding, array


def test_sarif_is_what_the_standard_wants(broken: mt.Specimen, tmp_path: Path) -> None:
    """The properties that SARIF 2.1.0 requires (sections 3.13 to 3.33, 3.49) and the values it allows."""
    finding = Finding.load(Audit()(broken).save(tmp_path / "audit"))
    said = json.loads(json.dumps(sarif.sarif_log(finding, mt.__version__)))
    assert set(said) == {"$schema", "version", "runs"} and said["version"] == "2.1.0"
    assert said["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = said["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "microtome audit" and driver["version"] == mt.__version__
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids) and set(ids) <= {rule.id for rule in RULES}
    for rule in driver["rules"]:
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
        for part in ("shortDescription", "fullDescription", "help"):
            assert rule[part]["text"]
    assert len(run["results"]) == finding["rule"].size
    layers = set()
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert result["baselineState"] in ("new", "unchanged", "updated", "absent")
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        for location in result["locations"]:
            uri = location["physicalLocation"]["artifactLocation"]["uri"]
            assert re.fullmatch(r"[A-Za-z0-9._~/%-]+", uri)
            (logical,) = location["logicalLocations"]
            layers.add((result["ruleId"], logical["fullyQualifiedName"]))
    assert layers == set(sarif.fault_locations(finding))


def made() -> Finding:
    """One rule with two layers, another with one, by hand."""
    rules = {"finding": ["MT002 Dead units", "MT101 Positions that are not read"]}
    texts = {
        "rule": ["MT002", "MT101"], "severity": ["warning", "error"], "evidence": ["2 units", "25 %"], "reason": ["r", "s"],
        "fix": ["f", "g"], "cost": ["c", "d"], "source": ["a", "b"], "edit": ["", "kernel_padding"],
    }  # fmt: skip
    arrays = {name: array(np.array(values, dtype=object), ("finding",), "text", rules) for name, values in texts.items()}
    arrays["place_rule"] = array(np.array(["MT002", "MT101", "MT002"], dtype=object), ("layer",), "text")
    arrays["place"] = array(np.array(["conv1", "conv2", "conv3"], dtype=object), ("layer",), "text")
    arrays["outcome"] = array(
        np.array(["found", "ok"], dtype=object), ("criterion",), "text", {"criterion": ["MT002", "MT001"]}
    )
    return Finding(analysis="audit", arrays=arrays, headline="Two.", origin={"specimen": {"name": "my net:a b"}})


def test_entries_hold_the_layers_of_their_rule_and_say_which_are_new() -> None:
    dead, unread = sarif.fault_entries(made(), known={("MT002", "conv1"), ("MT101", "conv2"), ("MT101", "conv1")})
    assert (dead["title"], dead["layers"], dead["new_layers"], dead["new"]) == (
        "Dead units",
        ["conv1", "conv3"],
        ["conv3"],
        True,
    )
    assert (unread["layers"], unread["new_layers"], unread["new"], unread["edit"]) == (["conv2"], [], False, "kernel_padding")
    assert sarif.audit_json(made())["rules"] == {"MT002": "found", "MT001": "ok"}


def test_results_point_at_their_rules_and_names_are_quoted() -> None:
    (run,) = sarif.sarif_log(made(), "1", {("MT101", "conv2")})["runs"]
    assert [rule["name"] for rule in run["tool"]["driver"]["rules"]] == ["DeadUnits", "PositionsThatAreNotRead"]
    assert [(one["ruleIndex"], one["level"], one["baselineState"]) for one in run["results"]] == [
        (0, "warning", "new"), (1, "error", "unchanged")
    ]  # fmt: skip
    assert run["results"][0]["partialFingerprints"] == {"ruleAndLayers/v1": "MT002:conv1,conv3"}
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "my%20net%3Aa%20b"
    assert run["results"][1]["message"]["text"] == "Positions that are not read: 25 %. g"
