"""Running a claim: the verdict is the rule's, the result says where it ran, and what cannot be run is refused in one sentence."""

import json
from datetime import UTC, datetime

import pytest

import microtome as mt
from microtome.errors import BadOption, Unmeasurable
from microtome.replicate import claim_card
from microtome.replicate.claim import Effect
from microtome.replicate.claims.uneven_strides import UnevenStrides
from microtome.replicate.running import data_folder, replicate_claim


def test_the_package_is_called_by_its_name() -> None:
    result = mt.replicate_claim("uneven_strides")
    assert (result.verdict, result.text) == ("holds", "0 pairs [0, 0]")
    assert result.digest == claim_card("uneven_strides").digest() and result.date[:4] == str(datetime.now(UTC).year)
    assert "core" in result.hardware and "torch" in result.versions


@pytest.mark.parametrize(
    ("effect", "verdict"), [(Effect.exact(1.0), "does not hold"), (Effect.unknown("no reason"), "inconclusive here")]
)
def test_the_verdict_is_the_rules_whatever_was_seen(monkeypatch, tmp_path, effect, verdict) -> None:
    monkeypatch.setattr(UnevenStrides, "run", lambda self, preset, context: effect)
    assert replicate_claim("uneven_strides", out=tmp_path).verdict == verdict
    assert json.loads((tmp_path / "uneven_strides.json").read_text())["verdict"] == verdict


def test_what_cannot_be_run_is_refused(tmp_path) -> None:
    with pytest.raises(BadOption, match="The preset is 'huge'; it can be mini or full"):
        replicate_claim("uneven_strides", "huge")
    with pytest.raises(Unmeasurable, match="preset full of published_turn is described, not built: the four networks"):
        replicate_claim("published_turn", "full")
    with pytest.raises(Unmeasurable, match="needs weight_banding_published.*not in .*Its last result stays in the ledger"):
        replicate_claim("published_turn", data=tmp_path)
    with pytest.raises(Unmeasurable, match=r"needs safetensors/cifar10_resnet56.safetensors, which is not in"):
        replicate_claim("probes_rise", data=tmp_path)


def test_the_data_folder_is_named_by_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("MICROTOME_DATA", "/somewhere")
    assert str(data_folder()) == "/somewhere"
    monkeypatch.delenv("MICROTOME_DATA")
    assert data_folder().parts[-2:] == ("shared", "data")
