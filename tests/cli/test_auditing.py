"""The verb `audit`: formats, exit codes, baseline, repair."""

import json
from pathlib import Path

import pytest

import microtome as mt
from microtome.analyses.audit.audit import Audit
from microtome.analyses.audit.run import RULES
from microtome.cli import main

NET = "microtome:mini_resnet"


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str, net: str = NET) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["audit", net, "--out", str(tmp_path / "out"), *words])
    told = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, told.out, told.err


def test_text_and_the_exit_code_by_severity(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, text, _ = run(capsys, tmp_path)
    assert code == 0
    assert "warning MT101 Positions that no kernel reads\n  where     layer2.0.downsample.0\n" in text
    assert text.rstrip().splitlines()[-1].startswith(f"3 findings from {len(RULES)} rules")
    assert run(capsys, tmp_path, "--fail-on", "warning")[0] == 1
    assert run(capsys, tmp_path, "--fail-on", "warning", "--ignore", "MT101,MT102")[0] == 0
    assert run(capsys, tmp_path, "--fail-on", "note", "--ignore", "MT101")[0] == 1
    assert run(capsys, tmp_path, "--fail-on", "never")[0] == 0
    assert list((tmp_path / "out").rglob("finding.json"))


def test_a_baseline_silences_what_is_known(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    known = str(tmp_path / "known.json")
    assert run(capsys, tmp_path, "--write-baseline", known, "--ignore", "MT101")[0] == 0
    code, text, _ = run(capsys, tmp_path, "--baseline", known, "--fail-on", "note")
    assert code == 1 and "MT202 One weight decay for all norm scales (known)" in text
    run(capsys, tmp_path, "--write-baseline", known)
    assert run(capsys, tmp_path, "--baseline", known, "--fail-on", "note")[0] == 0
    code, _, said = run(capsys, tmp_path, "--baseline", str(tmp_path / "none.json"))
    assert code == 2 and "cannot be read" in said and "Traceback" not in said


def test_json_and_sarif_are_all_that_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, text, _ = run(capsys, tmp_path, "--format", "json")
    said = json.loads(text)
    assert [one["rule"] for one in said["findings"]] == ["MT101", "MT102", "MT202"] and said["rules"][
        "MT001"
    ] == "nothing found"
    file = tmp_path / "audit.sarif"
    _, text, _ = run(capsys, tmp_path, "--format", "sarif", "--write", str(file))
    assert text == ""
    assert json.loads(file.read_text())["runs"][0]["results"][0]["ruleId"] == "MT101"


def test_what_no_edit_mends_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mended.safetensors"
    code, _, said = run(capsys, tmp_path, "--fix", str(file), "--ignore", "MT101,MT102")
    assert code == 0 and "MT202: no edit; optimizer = AdamW(microtome.param_groups(net, weight_decay))" in said
    assert not file.exists() and "was not written" in said
    code, _, said = run(capsys, tmp_path, "--fix", "mended.txt")
    assert code != 0 and ".safetensors" in said


def test_the_repair_mends_what_was_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Kernels padded once for two findings; the file opens by its name, and of the unread positions none is left."""
    file = tmp_path / "mended.safetensors"
    code, _, said = run(capsys, tmp_path, "--fix", str(file))
    assert code == 0 and said.count("padded 3 kernels") == 1 and "the function is preserved exactly" in said
    finding = Audit()(mt.open(file))
    assert "MT101" not in finding["rule"].values
    (left,) = [layers for rule, layers in zip(finding["rule"].values, finding["layers"].values, strict=True) if rule == "MT102"]
    assert left == "maxpool"  # the edit leaves max pools alone, for that would change the function


def test_what_would_undo_training_is_not_made_but_told_as_a_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A layer norm in the patch embedding is another function: the command does it, and then the finding is gone."""
    file, net = tmp_path / "mended.safetensors", "microtome:mini_deit"
    code, text, said = run(capsys, tmp_path, "--fix", str(file), net=net)
    assert code == 0 and "note MT401" in text and "  edit      prelayernorm\n" in text
    assert (
        "MT401: not applied, because prelayernorm changes the function of trained weights, so the network must be trained"
        in said
    )
    assert not file.exists() and "was not written" in said
    command = said.split("To apply it: microtome ")[1].splitlines()[0].replace("edited.safetensors", str(file)).split()
    with pytest.raises(SystemExit, match="^0$"):
        main(command)
    capsys.readouterr()
    assert "MT401" not in Audit()(mt.open(file))["rule"].values


def test_of_untrained_weights_nothing_is_lost_so_it_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "mended.safetensors"
    code, _, said = run(capsys, tmp_path, "--fix", str(file), "--weights", "none", net="microtome:mini_deit")
    assert code == 0 and "MT401: prelayernorm put a layer norm after patch_embed.proj" in said
    assert "the function is not preserved" in said
    assert "MT401" not in Audit()(mt.open(file))["rule"].values


def test_wrong_calls_are_told_before_anything_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for option in ("--write", "--write-baseline"):
        code, _, said = run(capsys, tmp_path, option, str(tmp_path))
        assert code == 2 and "cannot be written: it is a folder" in said
        (tmp_path / "file").write_text("")
        code, _, said = run(capsys, tmp_path, option, str(tmp_path / "file" / "audit.json"))
        assert code == 2 and "cannot be written" in said and "fault of microtome" not in said
    code, _, said = run(capsys, tmp_path, "--ignore", "MT101,MT9")
    assert code == 2 and "there is no rule 'MT9'" in said
    assert not list((tmp_path / "out").rglob("finding.json"))
    assert run(capsys, tmp_path, "--write", str(tmp_path / "new" / "folder" / "audit.txt"))[0] == 0
    assert (tmp_path / "new" / "folder" / "audit.txt").read_text().startswith("warning MT101")
