"""The verb `replicate`: the list, one run with what was committed beside it, its folder, and wrong words."""

import json

from microtome.replicate.ledger import ledger_rows
from shell import call


def test_the_list_has_every_claim_with_its_verdict() -> None:
    code, out, _ = call("replicate", "--list")
    rows = ledger_rows()
    assert code == 0 and all(f"{row.card.name} " in out and row.verdict in out for row in rows)
    lines = [json.loads(line) for line in call("replicate", "--list", "--json")[1].splitlines()]
    assert {line["claim"]: line["verdict"] for line in lines} == {row.card.name: row.verdict for row in rows}


def test_one_run_is_printed_and_kept(tmp_path) -> None:
    code, out, err = call("replicate", "uneven_strides", "--out", str(tmp_path))
    assert code == 0, err
    for text in (
        "Rule: holds if the effect is exactly 0 pairs.",
        "Effect: 0 pairs [0, 0] (exact",
        "The claim holds.",
    ):
        assert text in out
    assert "Committed result: 0 pairs [0, 0], holds (mini," in out
    assert json.loads((tmp_path / "uneven_strides.json").read_text())["verdict"] == "holds"
    assert "uneven_strides" in (tmp_path / "report.html").read_text()


def test_a_claim_that_does_not_hold_is_no_error() -> None:
    code, out, _ = call("replicate", "densenet_depths", "--quiet")
    assert code == 0 and "The claim does not hold." in out and "Hypothesis" not in out
    assert json.loads(call("replicate", "densenet_depths", "--json")[1])["verdict"] == "does not hold"


def test_wrong_words_are_answered_with_the_nearest() -> None:
    code, _, err = call("replicate", "resnet_feilds")
    assert code == 2 and "Did you mean 'resnet_fields'" in err and "microtome replicate --list" in err
    assert call("replicate")[0] == 2
    code, _, err = call("replicate", "published_turn", "--preset", "full")
    assert code == 1 and "is described, not built" in err
