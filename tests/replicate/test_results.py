"""A result comes back from its file as it was; a damaged one is refused, one of another protocol does not count."""

import dataclasses
import math

import pytest

from claim_file import RESULT
from microtome.errors import FindingError
from microtome.replicate import results
from microtome.replicate.cards import claim_card
from microtome.replicate.results import committed_result, load_result


def test_a_result_survives_its_file(tmp_path) -> None:
    again = load_result(RESULT.save(tmp_path))
    assert math.isnan(again.low) and dataclasses.replace(again, low=0, high=0) == dataclasses.replace(RESULT, low=0, high=0)
    assert RESULT.text == "25.0%"
    assert dataclasses.replace(RESULT, low=0.2, high=0.3).text == "25.0% [20.0%, 30.0%]"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"claim": 3}'])
def test_a_damaged_file_is_refused(tmp_path, text) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(FindingError, match=r"x\.json is no result of a claim .*run the claim again"):
        load_result(path)


def test_only_a_result_of_this_protocol_counts(tmp_path, monkeypatch) -> None:
    card = claim_card("resnet_fields")
    monkeypatch.setattr(results, "RESULT_FOLDER", tmp_path)
    assert committed_result(card) is None
    RESULT.save(tmp_path)
    assert committed_result(card) is None  # its digest is that of another protocol
    dataclasses.replace(RESULT, digest=card.digest()).save(tmp_path)
    assert committed_result(card) is not None
