"""What a rule is, what it finds, and the network as rules see it: measured once, shared by all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from microtome.analyses.audit.gains import GainCurve
from microtome.errors import SpecimenError
from microtome.instruments.dilated.branches import BranchGroup, branch_groups
from microtome.instruments.dilated.convolutions import DilatedConv, dilated_convolutions
from microtome.instruments.dropouts import DropoutReport, find_dropouts
from microtome.instruments.receptive_fields import receptive_fields
from microtome.instruments.scale_invariance import ScaleInvariance, scale_invariance
from microtome.numerics.receptive.field import Field
from microtome.specimen import Specimen
from microtome.specimen.tracing import Call

Severity = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class Fault:
    """What one rule found in one network: the layers by path, what was measured there, and what mends it here.

    `severity` and `fix` replace the rule's where they differ from case to case; `edit` is written as for `microtome edit`. `gains`
    are curves that the evidence is taken from.
    """

    layers: tuple[str, ...]
    evidence: str
    severity: Severity | None = None
    fix: str = ""
    edit: str = ""
    gains: tuple[GainCurve, ...] = ()


class Subject:
    """A specimen and what several rules want to know of it."""

    def __init__(self, specimen: Specimen) -> None:
        self.specimen = specimen

    @cached_property
    def calls(self) -> list[Call]:
        """Every call of every module in one forward pass."""
        return self.specimen.anatomy.trace.calls

    @cached_property
    def leaves(self) -> list[Call]:
        """The first calls of the modules without children, in order of execution."""
        return [call for call in self.calls if call.index == 0 and next(call.module.children(), None) is None]

    @cached_property
    def invariance(self) -> ScaleInvariance | str:
        """Which parameters the function does not depend on, or why that cannot be told."""
        try:
            return scale_invariance(self.specimen.net, self.specimen.recipe)
        except SpecimenError as error:
            return str(error)

    @cached_property
    def dropouts(self) -> DropoutReport:
        """The dropouts that run, however they are called."""
        return find_dropouts(self.specimen.net, self.specimen.recipe)

    @cached_property
    def dilated_convs(self) -> list[DilatedConv]:
        """The dilated convolutions, each as it reads its map."""
        return dilated_convolutions(self.specimen)

    @cached_property
    def branch_groups(self) -> list[BranchGroup]:
        """Those of them that are parallel branches, by group."""
        return branch_groups(self.specimen, self.dilated_convs)

    @cached_property
    def fields(self) -> dict[str, Field]:
        """The theoretical receptive fields of all convolutions."""
        names = self.specimen.aliases.get("convs", ())
        return receptive_fields(self.specimen, list(names)) if names else {}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. `check` gives what it found, None where all is well, or a text that says why it could not be checked.

    `reason` says why it matters, `source` who says so (ours where we derived it), `cost` what the repair costs, `fix` what to do.
    """

    id: str
    title: str
    severity: Severity
    reason: str
    source: str
    cost: str
    fix: str
    check: Callable[[Subject], Fault | str | None]
