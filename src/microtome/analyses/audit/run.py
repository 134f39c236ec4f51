"""All rules on one specimen: what each found, which were muted, which could not be checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from microtome.analyses.audit import broken_weights, dropout, heads, normalisation, receptive_fields
from microtome.analyses.audit.gains import regroup_edit
from microtome.analyses.audit.rule import Fault, Rule, Severity, Subject
from microtome.errors import UnknownName, did_you_mean
from microtome.specimen import Specimen

FAMILIES = (broken_weights, receptive_fields, normalisation, dropout, heads)
RULES: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in family.RULES)
BROKEN_WEIGHTS_RULE = "MT001"  # with such weights nothing that is measured means anything


@dataclass(frozen=True)
class RuleOutcome:
    """What came of one rule: its fault or none; `muted` layers were left out as asked; `unchecked` says why it was not checked."""

    rule: Rule
    fault: Fault | None = None
    muted: int = 0
    unchecked: str = ""

    @property
    def severity(self) -> Severity:
        """The fault's own severity, or the rule's."""
        return (self.fault.severity if self.fault else None) or self.rule.severity


def run_audit(specimen: Specimen, ignore: Sequence[str] = ()) -> tuple[RuleOutcome, ...]:
    """The outcome of every rule, in the order of their ids; `ignore` names rules, or rules and layers ("MT101:layer2.*").

    Raises:
        UnknownName: `ignore` names a rule that there is not.
        SpecimenError: the network does not run.
    """
    ignored = parse_ignored(ignore)
    subject = Subject(specimen)
    outcomes: list[RuleOutcome] = []
    for rule in sorted(RULES, key=lambda rule: rule.id):
        globs = [glob for id, glob in ignored if id == rule.id]
        broken = (
            bool(outcomes)
            and outcomes[0].rule.id == BROKEN_WEIGHTS_RULE
            and (outcomes[0].fault is not None or outcomes[0].muted > 0)
        )
        if "*" in globs:
            outcomes.append(RuleOutcome(rule, unchecked="left out as asked"))
        elif broken and rule.id[2] in "34":
            outcomes.append(RuleOutcome(rule, unchecked="some weights are not finite, so nothing can be measured"))
        else:
            outcomes.append(_mute(rule, rule.check(subject), globs))
    return tuple(outcomes)


def parse_ignored(words: Sequence[str]) -> list[tuple[str, str]]:
    """Rule and glob of layers of each word, such as MT101 or MT101:layer2.*; raises UnknownName for a rule that there is not."""
    return [_parse_word(word) for word in words]


def _mute(rule: Rule, answer: Fault | str | None, globs: Sequence[str]) -> RuleOutcome:
    if answer is None:
        return RuleOutcome(rule)
    if isinstance(answer, str):
        return RuleOutcome(rule, unchecked=answer)
    kept = tuple(layer for layer in answer.layers if not any(fnmatchcase(layer, glob) for glob in globs))
    left = len(answer.layers) - len(kept)
    gains = tuple(curve for curve in answer.gains if curve.layer in kept)
    edit = regroup_edit(gains) if left and gains else answer.edit
    return RuleOutcome(rule, replace(answer, layers=kept, gains=gains, edit=edit) if kept else None, left)


def _parse_word(word: str) -> tuple[str, str]:
    id, _, glob = word.partition(":")
    known = [rule.id for rule in RULES]
    if id not in known:
        raise UnknownName(f"audit: there is no rule '{id}'.{did_you_mean(id, known)} Rules: {', '.join(sorted(known))}.")
    return id, glob or "*"
