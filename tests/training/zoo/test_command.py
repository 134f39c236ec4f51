"""The training command: weights and card from a tiny run, and exit code 2 for a wrong call."""

import json
from pathlib import Path

import pytest

from microtome.training.zoo import command, judging


def test_a_tiny_run_writes_weights_and_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(judging, "TEST_COUNT", 30)
    assert command.main(["mini_vgg", "--out", str(tmp_path), "--epochs", "1", "--count", "64"]) == 0
    card = json.loads((tmp_path / "mini_vgg.json").read_text())
    assert card["judged"] == 30
    assert card["recipe"]["epochs"] == 1
    assert sum(one["count"] for one in card["by_area"]) == 30
    assert sum(one["right"] for one in card["by_area"]) == card["right"] == round(card["accuracy"] * 30)
    assert "epoch 1/1" in capsys.readouterr().out


def test_an_unknown_network_is_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["mini_resnett", "--out", str(tmp_path)]) == 2
    assert "Did you mean 'mini_resnet'" in capsys.readouterr().err
