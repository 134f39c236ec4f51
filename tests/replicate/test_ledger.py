"""The ledger: a claim without a result is not run, counts add up, and the page has every claim and its protocol."""

from dataclasses import replace

from claim_file import RESULT
from microtome.replicate import ledger
from microtome.replicate.cards import claim_card
from microtome.replicate.ledger import LedgerRow, count_verdicts, ledger_page, ledger_rows


def test_a_claim_without_result_is_not_run() -> None:
    card = claim_card("resnet_fields")
    assert (LedgerRow(card, None).verdict, LedgerRow(card, None).effect) == ("not run here", "")
    row = LedgerRow(card, replace(RESULT, verdict="does not hold", low=0.2, high=0.3))
    assert (row.verdict, row.effect) == ("does not hold", "25.0% [20.0%, 30.0%]")
    assert count_verdicts([row, row, LedgerRow(card, None)]) == {
        "holds": 0, "does not hold": 2, "inconclusive here": 0, "not run here": 1,
    }  # fmt: skip


def test_the_page_shows_every_claim_with_its_protocol(monkeypatch) -> None:
    rows = ledger_rows(own=True)
    assert len(rows) >= 35 and rows == sorted(rows, key=lambda row: (row.card.study, row.card.name))
    page = ledger_page()
    for row in rows:
        assert f"[`{row.card.name}`](#{row.card.name})" in page and f"\n### {row.card.name}\n" in page
        assert f"- Hypothesis: {row.card.hypothesis}\n" in page and f"| **{row.verdict}** |" in page
    monkeypatch.setattr(ledger, "committed_result", lambda card: None)
    blank = ledger_page()
    assert f"{len(rows)} claims: 0 hold, 0 do not hold, 0 inconclusive here, {len(rows)} not run here." in blank
    assert "- Not run here. Run it: `microtome replicate resnet_fields --out runs/resnet_fields`" in blank
