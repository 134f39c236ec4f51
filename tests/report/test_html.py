"""The bundle gives back every array, the report is one file that asks nothing, and damage is named while the rest is shown."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microtome.errors import FindingError, WriteError
from microtome.finding import Finding, array
from microtome.panels import PANEL_KINDS, Table
from microtome.report.html import page_asset, report_bundle, write_report
from packed_arrays import unpacked


def test_every_finding_is_there_with_every_array(results: Path) -> None:
    data = report_bundle(results)
    assert len(data["findings"]) == 19  # 3 specimens x 6 analyses + the comparison
    assert {panel["kind"] for one in data["findings"] for panel in one["panels"]} == set(PANEL_KINDS)
    assert data["damaged"] == []
    for one in data["findings"]:
        whole = Finding.load(results / one["folder"])
        for name, values in whole.arrays.items():
            said = one["arrays"][name]
            if said["dtype"] == "text":
                assert said["text"] == values.values.tolist()
            else:
                exact = values.values.astype(float)
                # rounded: eleven bits, and near zero those of the largest value
                rounded = (
                    {"rtol": 2**-11, "atol": 2**-24 * np.abs(exact).max(initial=0)} if "rounded" in said else {"rtol": 6e-8}
                )
                np.testing.assert_allclose(unpacked(said, data["blocks"]), exact, **rounded)


def test_the_same_pictures_are_written_once(results: Path) -> None:
    keys = {str(one["arrays"]["image"]["block"]) for one in report_bundle(results)["findings"] if one["analysis"] == "cam"}
    assert len(keys) == 1


def simple(started: str, value: float, name: str = "net") -> Finding:
    return Finding(
        analysis="probe",
        arrays={"accuracy": array([value], ("layer",), "share", {"layer": ["a"]})},
        panels=(Table(title="t", columns=("accuracy",), rows="layer"),),
        headline=f"It is {value}.",
        origin={"specimen": {"name": name}, "started": started},
    )


def test_of_two_keys_the_newest_is_shown_unless_the_run_names_one(tmp_path: Path) -> None:
    simple("2026-01-01T00:00:00+00:00", 1.0).save(tmp_path / "net" / "probe" / "bbb")
    simple("2026-02-01T00:00:00+01:00", 2.0).save(tmp_path / "net" / "probe" / "aaa")
    assert [one["headline"] for one in report_bundle(tmp_path)["findings"]] == ["It is 2.0."]
    (tmp_path / "run.json").write_text(json.dumps({"findings": ["net/probe/bbb"]}))
    assert [one["headline"] for one in report_bundle(tmp_path)["findings"]] == ["It is 1.0."]


def test_specimens_come_in_the_order_of_the_run(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        simple("", 1.0, name).save(tmp_path / name)
    (tmp_path / "run.json").write_text(json.dumps({"specimens": ["c", "a", "b"]}))
    assert [one["origin"]["specimen"]["name"] for one in report_bundle(tmp_path)["findings"]] == ["c", "a", "b"]


def test_of_an_analysis_of_findings_only_the_newest_is_shown(tmp_path: Path) -> None:
    """Over more networks it has other specimens, but is the same analysis of the same folder."""
    for year, names in (("2024", ["a"]), ("2025", ["a", "b"])):
        collation = simple(f"{year}-01-01T00:00:00+00:00", float(year))
        origin = {**collation.origin, "specimen": {}, "specimens": names, "findings": ["k"] * len(names)}
        replace(collation, origin=origin).save(tmp_path / year)
    assert [one["headline"] for one in report_bundle(tmp_path)["findings"]] == ["It is 2025.0."]


def test_scratch_folders_do_not_count(tmp_path: Path) -> None:
    simple("", 1.0).save(tmp_path / "net")
    shutil.copytree(tmp_path / "net", tmp_path / ".writing-1")
    assert len(report_bundle(tmp_path)["findings"]) == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "card", "list", "gone"])
def test_a_damaged_finding_is_named_and_the_rest_is_shown(tmp_path: Path, damage: str) -> None:
    simple("", 1.0, "good").save(tmp_path / "good")
    bad = simple("", 2.0, "bad").save(tmp_path / "bad")
    arrays, said = bad / "arrays.safetensors", bad / "finding.json"
    payload = bytearray(arrays.read_bytes())
    if damage == "flip":
        payload[-1] ^= 1
        arrays.write_bytes(payload)
    elif damage == "cut":
        arrays.write_bytes(payload[:5])
    elif damage == "card":
        said.write_text('{"format": 1, "analysis"')
    elif damage == "list":
        said.write_text("[]")
    else:
        arrays.unlink()
    data = report_bundle(tmp_path)
    assert [one["headline"] for one in data["findings"]] == ["It is 1.0."]
    assert [one["folder"] for one in data["damaged"]] == ["bad"]
    assert str(bad) in data["damaged"][0]["reason"]
    assert json.loads(island(write_report(tmp_path)))["damaged"] == data["damaged"]


def test_a_missing_or_empty_folder_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FindingError, match=r"nowhere is not a folder.*mt.analyze"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(FindingError, match=r"holds no finding.*mt.analyze"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FindingError, match=r"run\.json cannot be read"):
        write_report(tmp_path)


def test_when_all_are_damaged_the_first_reason_is_given(tmp_path: Path) -> None:
    simple("", 1.0).save(tmp_path / "net")
    (tmp_path / "net" / "arrays.safetensors").write_bytes(b"")
    with pytest.raises(FindingError, match="does not match its checksum"):
        report_bundle(tmp_path)


def island(path: Path) -> str:
    found = re.search(
        r'<script type="application/json" id="bundle">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found
    return found.group(1)


def test_the_report_is_one_file_with_the_bundle_inside(results: Path, tmp_path: Path) -> None:
    out = write_report(results, tmp_path / "deep" / "r.html", title="Shells & <friends>")
    assert out == tmp_path / "deep" / "r.html"
    text = out.read_text(encoding="utf-8")
    assert "<title>Shells &amp; &lt;friends&gt;</title>" in text
    assert json.loads(island(out)) == json.loads(json.dumps(report_bundle(results, "Shells & <friends>")))
    assert "src=" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert out.stat().st_size < 10e6
    assert [path.name for path in out.parent.iterdir()] == ["r.html"]  # no scratch file left


def test_the_same_findings_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    assert write_report(results, tmp_path / "a.html").read_bytes() == write_report(results, tmp_path / "b.html").read_bytes()


def test_readers_without_scripts_get_the_headlines(results: Path, tmp_path: Path) -> None:
    text = write_report(results, tmp_path / "r.html").read_text(encoding="utf-8")
    found = re.search(r"<noscript>(.*?)</noscript>", text, re.DOTALL)
    assert found
    assert found.group(1).count("<li>") == 19
    assert found.group(1).count("<h2>Linear probe</h2>") == 1
    assert "<li>timm:resnet50.a1_in1k: Best probe accuracy 86.3% at " in found.group(1)


def test_lists_of_names_are_written_once(results: Path) -> None:
    data = report_bundle(results)
    cards = {finding["id"]: Finding.load(results / finding["folder"]) for finding in data["findings"]}
    lists = 0
    for finding in data["findings"]:
        for name, entry in finding["arrays"].items():
            coords = cards[finding["id"]].arrays[name].coords
            for dim, names in entry["coords"].items():
                shared = isinstance(names, str)
                lists += shared
                assert (data["coords"][names] if shared else names) == coords[dim].values.tolist()
    assert lists > 3 * len(data["coords"])


def test_hostile_text_cannot_leave_its_island(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--<script>"
    Finding(
        analysis="probe", arrays={"a": array([evil], ("layer",), "text", {"layer": [evil]})}, headline=evil, title=evil,
        panels=(Table(title=evil, columns=("a",), rows="layer"),), origin={"specimen": {"name": evil}},
    ).save(tmp_path / "f")  # fmt: skip
    out = write_report(tmp_path, title=evil)
    assert json.loads(island(out))["findings"][0]["headline"] == evil
    assert "<script>alert" not in out.read_text(encoding="utf-8")


NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml", "http://www.w3.org/1998/Math/MathML"}


def test_no_address_outside_in_the_page_or_the_report(results: Path, tmp_path: Path) -> None:
    texts = [page_asset(name) for name in ("page.js", "page.css", "index.html")]
    texts.append(write_report(results, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert [len(text) > 100 for text in texts] == [True] * 4 and "http://www.w3.org/2000/svg" in texts[-1]
    for text in texts:
        assert set(re.findall(r"""https?://[^\s"'`<>)\\]+""", text)) <= NAMESPACES
        assert not re.findall(r"""(?:src|href)=["']//""", text)


def test_the_page_is_small() -> None:
    assert len(page_asset("page.js")) + len(page_asset("page.css")) < 150_000


def test_an_unwritable_place_is_one_clear_sentence(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="cannot be written.*another file: out=FILE"):
        write_report(results, tmp_path / "file" / "r.html")


@pytest.mark.parametrize("module", ["microtome.app.server", "microtome.report.html", "microtome.finding"])
def test_neither_report_nor_server_loads_torch(module: str) -> None:
    code = f"import {module}, sys; print([m for m in ('torch', 'timm', 'torchvision', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
