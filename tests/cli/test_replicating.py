"""The verb `replicate`: the list, one run with what was committed beside it, its folder, and wrong words."""

import json

from shell import call

from microtome.replicate.ledger import ledger_rows


def test_the_list_has_every_claim_with_its_verdict() -> None:
    told = call("replicate", "--list")
    rows = ledger_rows()
    assert told.code == 0 and all(f"{row.card.name} " in told.out and row.verdict in told.out for row in rows)
    lines = [json.loads(line) for line in call("replicate", "--list", "--json").out.splitlines()]
    assert {line["claim"]: line["verdict"] for line in lines} == {row.card.name: row.verdict for row in rows}


def test_one_run_is_printed_and_kept(tmp_path) -> None:
    told = call("replicate", "uneven_strides", "--out", str(tmp_path))
    assert told.code == 0, told.err
    for text in ("Rule: holds if the interval lies from 0 pairs to 0 pairs.", "Effect: 0 pairs [0, 0] (exact", "The claim holds."):
        assert text in told.out
    assert "Committed result: 0 pairs [0, 0], holds (mini," in told.out
    assert json.loads((tmp_path / "uneven_strides.json").read_text())["verdict"] == "holds"
    assert "uneven_strides" in (tmp_path / "report.html").read_text()


def test_a_claim_that_does_not_hold_is_no_error() -> None:
    told = call("replicate", "densenet_depths", "--quiet")
    assert told.code == 0 and "The claim does not hold." in told.out and "Hypothesis" not in told.out
    assert json.loads(call("replicate", "densenet_depths", "--json").out)["verdict"] == "does not hold"


def test_wrong_words_are_answered_with_the_nearest() -> None:
    told = call("replicate", "resnet_feilds")
    assert told.code == 2 and "Did you mean 'resnet_fields'" in told.err and "microtome replicate --list" in told.err
    assert call("replicate").code == 2
    told = call("replicate", "published_turn", "--preset", "full")
    assert told.code == 1 and "is described, not built" in told.err
