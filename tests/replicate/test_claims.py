"""Every claim against its protocol, its committed result against the rule and the history, and the quick ones run again."""

import re
from pathlib import Path

import pytest

from microtome.replicate.cards import PROTOCOL, STUDIES, own_claims
from microtome.replicate.claim import RunContext
from microtome.replicate.provenance import card_at, git_text
from microtome.replicate.results import RESULT_FOLDER, committed_result, load_result
from microtome.replicate.rules import CLAIM_VERDICTS
from shared_data import CONTEXT, HERE

CARDS = own_claims()
RESULTS = {path.stem: load_result(path) for path in sorted(RESULT_FOLDER.glob("*.json"))}
# Claims that take more than a few seconds, although nothing is trained for them: networks at 448 px, 53 norms one at a time.
SLOW = {"gaussian_overlay_centre", "internal_gammas"}
QUICK = [name for name, card in CARDS.items() if card.kind == "no training" and name not in SLOW]
QUICK_ON_DATA = [
    "bands_last_only", "dense_classifier_late", "dense_inputs_spread", "dense_transition_output", "dense_transitions_spread",
    "googlenet_bands", "published_alexnet", "published_last_layers", "published_row_pooling", "published_turn", "published_vgg",
    "published_without_pooling",
]  # fmt: skip


def test_there_are_claims_of_every_study() -> None:
    assert len(CARDS) >= 35 and {card.study for card in CARDS.values()} == set(STUDIES)
    assert len(RESULTS) >= 35 and RESULTS.keys() <= CARDS.keys()


@pytest.mark.parametrize("name", CARDS)
def test_a_claim_is_what_its_file_says(name: str) -> None:
    card = CARDS[name]
    claim = card.load()
    assert {part: getattr(claim, part) for part in PROTOCOL} == {part: getattr(card, part) for part in PROTOCOL}
    assert claim.rule == card.rule and claim.runs_full == card.runs_full
    assert type(claim).__name__ == "".join(word.capitalize() for word in name.split("_"))
    assert card.source and card.sentence.endswith(".")
    assert (card.kind == "training") == bool(card.experiment)


def test_no_two_claims_are_one() -> None:
    for part in ("sentence", "measure", "hypothesis"):
        texts = [getattr(card, part) for card in CARDS.values()]
        assert len(set(texts)) == len(texts), part
    effects = [(result.value, result.low, result.high) for result in RESULTS.values() if result.low != result.high]
    assert len(set(effects)) == len(effects)


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_of_the_present_protocol_and_judged_by_its_rule(name: str) -> None:
    card, result = CARDS[name], RESULTS[name]
    assert result.claim == name and result.digest == card.digest(result.preset), (
        "the protocol changed after the run: run it again"
    )
    assert committed_result(card) == result or result.low != result.low
    assert result.verdict == card.rule.verdict(result.low, result.high) and result.verdict in CLAIM_VERDICTS
    assert result.unit == card.rule.json()["unit"] and result.fixed_before
    assert re.fullmatch(r"[0-9a-f]{40}", result.commit) and result.hardware and result.versions["torch"]


@pytest.mark.parametrize("name", RESULTS)
def test_the_protocol_was_committed_before_the_result(name: str) -> None:
    card, result = CARDS[name], RESULTS[name]
    if git_text("cat-file", "-e", f"{result.commit}^{{commit}}") is None:
        return  # a copy without this history, such as a shallow clone or an installed package
    at_run = card_at(card, result.commit)
    assert at_run is not None and at_run.digest(result.preset) == result.digest
    added = (git_text("log", "--format=%H", "--diff-filter=A", "--", f"../results/{name}.json") or "").split()
    for commit in added:  # none while the result is not committed yet
        before = card_at(card, f"{commit}^")
        assert before is not None, "claim and result came in one commit"
        assert commit != result.commit and git_text("merge-base", "--is-ancestor", result.commit, "HEAD") is not None


def check_again(name: str, context: RunContext) -> None:
    card, result = CARDS[name], RESULTS[name]
    effect = card.load().run("mini", context)
    assert card.rule.verdict(effect.low, effect.high) == result.verdict
    assert (effect.value, effect.low, effect.high) == pytest.approx(
        (result.value, result.low, result.high), rel=0.02, abs=1e-4, nan_ok=True
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_claim_without_training_comes_out_as_committed(name: str, tmp_path: Path) -> None:
    check_again(name, RunContext(tmp_path, tmp_path))


@pytest.mark.parametrize("name", QUICK_ON_DATA)
@pytest.mark.skipif(not HERE, reason="no trained networks (set MICROTOME_DATA); the committed result stays in the ledger")
def test_a_claim_on_trained_weights_comes_out_as_committed(name: str, tmp_path: Path) -> None:
    check_again(name, RunContext(CONTEXT.data, tmp_path))
