"""The claims that there are, read by their syntax trees, without torch; and the digest of a protocol.

Another package adds a claim with an entry point in the group `microtome.claims`, written `stem = "package.module:Class"`.
"""

import ast
import functools
import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtome import plugins, prose
from microtome.class_files import base_name
from microtome.errors import UnknownName, did_you_mean, hint
from microtome.replicate.rules import RULES, DecisionRule

CLAIM_GROUP = "microtome.claims"
BASES = ("Claim", "TrainingClaim")
CLAIM_FOLDER = Path(__file__).parent / "claims"
STUDIES = {
    "000": "Weight Distribution of Neural Networks in Computer Vision (Wu & Lee 2022): six backbones",
    "001": "DenseNet (Huang et al. 2017) and SENet (Hu et al. 2018)",
    "002": "Visualizing and Understanding Convolutional Networks (Zeiler & Fergus 2013)",
    "003": "Eight papers by Kim et al. (2020 to 2023)",
    "004": "Weight Banding (Petrov et al. 2021)",
}
PROTOCOL = ("study", "kind", "hypothesis", "measure", "null", "confounders", "prior", "mini", "full")
DIGESTED = ("study", "kind", "hypothesis", "measure", "null")  # and the sentence, the rule and the preset


@dataclass(frozen=True)
class ClaimCard:
    """One claim, as far as it is known without importing it."""

    name: str
    module: str
    cls: str
    sentence: str
    source: str
    study: str
    kind: str
    hypothesis: str
    measure: str
    null: str
    confounders: str
    prior: str
    mini: str
    full: str
    runs_full: bool
    rule: DecisionRule
    experiment: str = ""  # the text of the experiment that it trains by
    variant: str = ""  # of the experiment, and
    number: str = ""  # which of its numbers is compared with the reference's

    def load(self) -> Any:
        """The claim itself, ready to run (imports torch)."""
        return getattr(importlib.import_module(self.module), self.cls)()

    def digest(self, preset: str = "mini") -> str:
        """16 hex digits over all that was fixed before the run with this preset."""
        fixed: dict[str, Any] = {name: getattr(self, name) for name in DIGESTED}
        fixed |= {"sentence": self.sentence, "rule": self.rule.json(), "preset": getattr(self, preset)}
        if self.experiment:
            fixed |= {"experiment": self.experiment, "variant": self.variant, "number": self.number}
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:16]


def read_claim(text: str, name: str, module: str, experiment: str = "") -> ClaimCard | None:
    """The card of a claim file with this text, or None where it holds no claim.

    Raises:
        ValueError: a part of the protocol is missing, or no literal.
    """
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(base_name(base) in BASES for base in node.bases):
            parts = prose.read_docstring(ast.get_docstring(tree, clean=False))
            values = _class_values(node)
            if missing := [part for part in (*PROTOCOL, "rule") if not values.get(part)]:
                raise ValueError(f"its protocol has no {prose.name_list(missing, 12)}")
            words = {part: str(values[part]) for part in PROTOCOL}
            full = bool(values.get("runs_full", False))
            return ClaimCard(
                name, module, node.name, parts.summary, parts.source, **words,
                runs_full=full, rule=values["rule"], experiment=experiment,
                variant=str(values.get("variant", "")), number=str(values.get("number", "")),
            )  # fmt: skip
    return None


def _class_values(node: ast.ClassDef) -> dict[str, Any]:
    """The constants of a claim: literals, and its rule."""
    values: dict[str, Any] = {}
    for line in node.body:
        if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            values[line.targets[0].id] = _literal_or_rule(line.value)
    return values


def _literal_or_rule(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and (kind := RULES.get(base_name(node.func))) is not None:
        words = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
        return kind(*[ast.literal_eval(value) for value in node.args], **words)
    return ast.literal_eval(node)


def _read_file(path: Path, module: str) -> ClaimCard | None:
    toml = path.with_suffix(".toml")
    experiment = toml.read_text(encoding="utf-8") if toml.is_file() else ""
    return read_claim(path.read_text(encoding="utf-8"), path.stem, module, experiment)


@functools.cache
def own_claims() -> dict[str, ClaimCard]:
    """Our own claims by name."""
    files = sorted(CLAIM_FOLDER.glob("[a-z]*.py"))
    return {path.stem: card for path in files if (card := _read_file(path, f"microtome.replicate.claims.{path.stem}"))}


@functools.cache
def _foreign_claims() -> tuple[dict[str, ClaimCard], list[plugins.BrokenPlugin]]:
    return plugins.read_plugins(CLAIM_GROUP, _read_file, set(own_claims()))


def claim_cards() -> dict[str, ClaimCard]:
    """Every claim by name, our own first, then those of installed packages that can be read."""
    return own_claims() | _foreign_claims()[0]


def broken_claims() -> list[plugins.BrokenPlugin]:
    """The claims of other packages that cannot be read, each with the reason and the remedy."""
    return _foreign_claims()[1]


def claim_card(name: str) -> ClaimCard:
    """The claim of that name.

    Raises:
        UnknownName: there is none; the nearest is named.
    """
    known = claim_cards()
    if name not in known:
        listing = hint("microtome replicate --list", "microtome.replicate.claim_cards()")
        raise UnknownName(f"There is no claim '{name}'.{did_you_mean(name, known)} List them: {listing}")
    return known[name]
