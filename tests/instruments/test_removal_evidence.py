"""What `redundancy` says of its own trustworthiness is what was measured."""

import json

import pytest

from microtome.instruments import removal_evidence as evidence


@pytest.fixture
def written(tmp_path, monkeypatch: pytest.MonkeyPatch):
    def write(**own: float) -> None:
        path = tmp_path / "evidence.json"
        path.write_text(json.dumps({"predictors": {"block influence": own}}))
        monkeypatch.setattr(evidence, "EVIDENCE", path)
        evidence.removal_evidence.cache_clear()

    yield write
    evidence.removal_evidence.cache_clear()


def test_three_verdicts(written) -> None:
    written(mean=0.8, low=0.4, high=0.95, networks=5)
    assert "0.800 [0.400, 0.950] on average: it predicts the loss." in evidence.trust_sentence("block influence")
    written(mean=0.3, low=-0.4, high=0.7, networks=5)
    assert "it is not shown to predict the loss" in evidence.trust_sentence("block influence")
    written(mean=0.3, low=float("nan"), high=float("nan"), networks=2)
    assert "too few to judge" in evidence.trust_sentence("block influence")
    assert evidence.trust_sentence("the weather") == ""


def test_what_is_shipped_can_be_read() -> None:
    shipped = evidence.removal_evidence()
    assert shipped["networks"]
    assert "block influence" in shipped["predictors"]
