"""The analysis `audit`: the common suite, arrays that say the same as the rules, formats, baseline, ten families without a crash."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch

import microtome as mt
from microtome import testing
from microtome.analyses.audit import baseline, sarif
from microtome.analyses.audit.audit import Audit
from microtome.analyses.audit.run import RULES, run_audit
from microtome.errors import BadOption, UnknownName
from microtome.finding import Finding

FAMILIES = {
    "timm:resnet10t": {},
    "timm:densenet121": {},
    "timm:convnext_atto": {},
    "timm:swin_tiny_patch4_window7_224": {"img_size": 64},
    "timm:mobilenetv3_small_050": {},
    "timm:regnety_002": {},
    "timm:mixer_s32_224": {"img_size": 64},
    "timm:nf_regnet_b0": {},
    "timm:ghostnet_050": {},
    "torchvision:squeezenet1_1": {},
}


@pytest.fixture(scope="module")
def net() -> mt.Specimen:
    return mt.open("microtome:mini_resnet")


@pytest.fixture(scope="module")
def broken(net: mt.Specimen) -> mt.Specimen:
    """A ResNet with a dead unit in two layers."""
    other = copy.deepcopy(net.net)
    with torch.no_grad():
        other.layer1[0].conv1.weight[0] = 0
        other.layer3[0].conv1.weight[:2] = 0
    return net.with_net(other, name="broken")


def test_the_common_suite(net: mt.Specimen, tmp_path: Path) -> None:
    finding = testing.check(Audit(), net, None, tmp_path)
    assert finding["rule"].values.tolist() == ["MT101", "MT102", "MT202"]
    assert finding["severity"].values.tolist() == ["warning", "warning", "note"]
    assert finding.headline == (
        f"3 findings from {len(RULES)} rules; most severe: MT101 Positions that no kernel reads (1 layer)."
    )
    assert [finding.key(name).value for name in ("findings", "errors", "warnings")] == [3, 0, 2]


def test_nothing_wrong_is_said_and_drawn(net: mt.Specimen, tmp_path: Path) -> None:
    finding = testing.check(Audit(ignore=("MT101", "MT102", "MT202:*")), net, None, tmp_path)
    assert finding.headline == f"0 findings from {len(RULES) - 3} rules checked."
    assert finding.key("rules not checked").value == 3
    assert [panel.title for panel in finding.panels] == ["All rules"]


def test_the_untrained_twin_has_the_same_design(net: mt.Specimen) -> None:
    """What speaks of the design is found in both; that is why the caveat says so."""
    assert Audit()(net.twin())["rule"].values.tolist() == Audit()(net)["rule"].values.tolist()


def test_broken_weights_are_told_once_for_all_layers(broken: mt.Specimen) -> None:
    finding = Audit()(broken)
    assert finding["rule"].values.tolist() == ["MT002", "MT101", "MT102", "MT202"]
    (one,) = [one for one in sarif.fault_entries(finding) if one["rule"] == "MT002"]
    assert one["layers"] == ["layer1.0.conv1", "layer3.0.conv1"]
    assert one["evidence"].startswith("3 units in 2 layers with only zero weights")


def test_an_unknown_rule_is_refused(net: mt.Specimen) -> None:
    with pytest.raises(UnknownName, match="no rule 'MT999'"):
        Audit(ignore=("MT999",))(net)


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


def test_a_baseline_makes_known_what_was_and_new_what_came(net: mt.Specimen, broken: mt.Specimen, tmp_path: Path) -> None:
    path = baseline.write_baseline(tmp_path / "known.json", Audit()(net))
    known = baseline.read_baseline(path)
    assert known == set(sarif.fault_locations(Audit()(net)))
    assert not [one for one in sarif.fault_entries(Audit()(net), known) if one["new"]]
    fresh = {one["rule"]: one["new_layers"] for one in sarif.fault_entries(Audit()(broken), known) if one["new"]}
    assert fresh == {"MT002": ["layer1.0.conv1", "layer3.0.conv1"]}
    states = {one["ruleId"]: one["baselineState"] for one in sarif.sarif_log(Audit()(broken), "0", known)["runs"][0]["results"]}
    assert states == {"MT101": "unchanged", "MT102": "unchanged", "MT002": "new", "MT202": "unchanged"}


def test_a_baseline_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="cannot be read.*--write-baseline"):
        baseline.read_baseline(tmp_path / "nowhere.json")
    for text in ("nonsense", "{}", '{"format": 1}', "[1]"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(BadOption, match="no baseline file"):
            baseline.read_baseline(tmp_path / "odd.json")
    (tmp_path / "new.json").write_text('{"format": 2, "known": []}')
    with pytest.raises(BadOption, match="format 2"):
        baseline.read_baseline(tmp_path / "new.json")


@pytest.mark.parametrize("name", FAMILIES)
def test_no_family_makes_it_crash(name: str) -> None:
    net = mt.open(name, weights=None, recipe={"size": 64}, **FAMILIES[name])
    outcomes = run_audit(net)
    assert len(outcomes) == len(RULES)
    ran = {call.path for call in net.anatomy.trace.calls}
    for one in outcomes:
        assert one.fault is None or (one.fault.layers and one.fault.evidence and set(one.fault.layers) <= ran)
    allowed = {"MT002", "MT003", "MT004", "MT402", "MT403", "MT103"}
    assert {one.rule.id for one in outcomes if one.unchecked} <= allowed, [one.unchecked for one in outcomes]
