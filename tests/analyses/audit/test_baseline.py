"""The baseline file: what is known of a network, written and read again, and files that are none."""

from pathlib import Path

import pytest

import microtome as mt
from microtome.analyses.audit import baseline, sarif
from microtome.analyses.audit.audit import Audit
from microtome.errors import BadOption


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
    with pytest.raises(BadOption, match="cannot be read.*write_baseline"):
        baseline.read_baseline(tmp_path / "nowhere.json")
    for text in ("nonsense", "{}", '{"format": 1}', "[1]"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(BadOption, match="no baseline file"):
            baseline.read_baseline(tmp_path / "odd.json")
    (tmp_path / "new.json").write_text('{"format": 2, "known": []}')
    with pytest.raises(BadOption, match="format 2"):
        baseline.read_baseline(tmp_path / "new.json")
