"""The analysis `audit`: the common suite, arrays that say the same as the rules, formats, baseline, ten families without a crash."""

from pathlib import Path

import pytest

import microtome as mt
from microtome import testing
from microtome.analyses.audit import sarif
from microtome.analyses.audit.audit import Audit
from microtome.analyses.audit.run import RULES, run_audit
from microtome.errors import UnknownName

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
    assert finding.headline == f"No finding from {len(RULES) - 3} rules checked."
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
