"""Claims are read without being imported; every part of a protocol changes its digest, and nothing else does."""

import subprocess
import sys

import pytest

from claim_file import FILE
from microtome.errors import UnknownName
from microtome.replicate.cards import DIGESTED, claim_card, claim_cards, own_claims, read_claim


def card(text: str = FILE, experiment: str = ""):
    found = read_claim(text, "wet", "mine.wet", experiment)
    assert found is not None
    return found


def test_a_file_is_read() -> None:
    wet = card()
    assert (wet.name, wet.cls, wet.sentence, wet.source) == ("wet", "Wet", "Water is wet.", "nobody, nowhere.")
    assert wet.measure == "Wetness of water." and wet.rule.verdict(-1, 1) == "holds" and not wet.runs_full
    assert read_claim("class Dry:\n    pass\n", "dry", "mine.dry") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Water is wet.", "Water is dry."), ('"000"', '"001"'), ("no training", "training"), ("It is wet", "It was wet"),
        ("Wetness ", "Dryness "), ("-1, most=1", "-1, most=2"), ("px", "m"), ("It is dry", "It was dry"), ("a glass", "a cup"),
    ],
)  # fmt: skip
def test_each_part_of_the_protocol_changes_the_digest(old: str, new: str) -> None:
    assert FILE.count(old) == 1
    assert card(FILE.replace(old, new)).digest() != card().digest()
    assert set(DIGESTED) == {"study", "kind", "hypothesis", "measure", "null"}


def test_the_digest_is_of_the_protocol_alone() -> None:
    same = FILE.replace("Rain.", "Snow.").replace("Wetness.", "How wet.") + "    def run(self):\n        return 1\n"
    assert card(same).digest() == card().digest()
    assert card().digest("full") != card().digest("mini")
    assert len({card(experiment=text).digest() for text in ("", "seeds = [0]", "seeds = [1]")}) == 3
    assert card(FILE + '    variant = "x"\n', "seeds = [0]").digest() != card(experiment="seeds = [0]").digest()


def test_a_missing_part_is_named() -> None:
    with pytest.raises(ValueError, match="its protocol has no null"):
        card(FILE.replace('    null = "It is dry."\n', ""))


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no claim 'resnet_feilds'. Did you mean 'resnet_fields'"):
        claim_card("resnet_feilds")
    assert claim_card("resnet_fields") is own_claims()["resnet_fields"]
    assert set(own_claims()) <= set(claim_cards())


def test_reading_the_ledger_imports_no_torch() -> None:
    code = "import sys; from microtome.replicate.ledger import ledger_page; ledger_page(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
