"""What an edit is: frozen options, `unfit`, `operate`, `preserves`; it gives a changed copy and never touches the original.

A new edit is one file under `edits/` with one final class. Its fields, declared by `option`, become the Python call, the words of
`microtome edit` and the docs page. What it says in its line (parameters, multiply-adds, what is preserved) is counted here, and
held true by `microtome.testing.check_edit`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, cast, dataclass_transform, final

import torch
from torch import Tensor, nn

from microtome import catalog, options
from microtome.errors import BadOption, SpecimenError, Uneditable
from microtome.key_numbers import format_change
from microtome.numerics.graph.counts import count_multiply_adds, count_parameters
from microtome.options import option
from microtome.specimen import Recipe, Specimen
from microtome.specimen.copying import copy_network
from microtome.specimen.families import structural_family
from microtome.specimen.seeding import seed_generators
from microtome.specimen.specimen import Change
from microtome.specimen.tracing import example_input
from microtome.specimen.twins import Maker

SEED = 0  # where the random numbers of new layers start; the untrained twin has its own


@dataclass(frozen=True)
class Preservation:
    """Whether an edited network answers as before, and why.

    `within` is the largest difference of an output, as a fraction of the spread (standard deviation) of the original's outputs:
    0 is to the bit; the default is what rounding in float32 makes of equal formulas.
    """

    how: Literal["exactly", "approximately", "no"]
    why: str
    within: float = 1e-4


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Edit(ABC):
    """One surgery. Subclasses are final; the stem of their file is their name everywhere."""

    title: ClassVar[str] = ""
    lead: ClassVar[str] = ""  # the option that takes words written without a name: cut:layer3

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        options.validate_options(self, self.name())

    @classmethod
    def name(cls) -> str:
        """The stem of the edit's file."""
        return cls.__module__.rsplit(".", 1)[-1]

    @abstractmethod
    def operate(self, net: nn.Module, specimen: Specimen) -> str:
        """Change `net`, a copy of the specimen's network with the same paths; what was done, in words without a full stop.

        What it does to shapes and modules depends on structure and options, never on the values of weights: an edited network is
        opened again by editing the same architecture with other weights, then loading (choices made by weights: see `settled`).
        New layers may draw from torch's global generator, which is seeded meanwhile.
        """

    @abstractmethod
    def preserves(self, specimen: Specimen) -> Preservation:
        """Whether the copy answers as the specimen does."""

    def adjust(self, net: nn.Module, specimen: Specimen) -> str:
        """Set values of tensors of the changed copy `net` that depend on data, in place; what was done, to go on with `operate`'s words.

        It is called where the edit is applied, not where the architecture is made again: what is saved holds these values.
        """
        return ""

    def refusal(self, specimen: Specimen) -> str:
        """Why this edit cannot be made of the specimen, or an empty text."""
        return ""

    def with_choices(self, specimen: Specimen) -> "Edit":
        """The same edit with every choice that depends on this specimen written out in its options."""
        return self

    def recipe(self, specimen: Specimen) -> Recipe:
        """How the copy wants its input."""
        return specimen.recipe

    @final
    def options(self) -> dict[str, Any]:
        """The options by name, as plain values."""
        return options.values(self)

    @final
    def to_cli(self) -> str:
        """The edit as it is written on the command line: NAME, or NAME:key=value,… with what differs from the defaults.

        Options that only records hold are left out.
        """
        own = [
            (field.name, getattr(self, field.name))
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default and not field.metadata["recorded"]
        ]
        words = [_spelt(value) if name == self.lead else f"{name}={_spelt(value)}" for name, value in own]
        words.sort(key=lambda word: "=" in word)
        return f"{self.name()}:{','.join(words)}" if words else self.name()

    @final
    def __call__(self, specimen: Specimen) -> Specimen:
        """The same as `apply`."""
        return self.apply(specimen)

    @final
    def apply(self, specimen: Specimen, seed: int = SEED) -> Specimen:
        """A changed copy of the specimen; `copy.edits[-1]` describes the change and its cost. New layers draw from `seed`.

        Raises:
            Uneditable: the edit does not fit this network, leaves one that does not run or is no other than before, or breaks its own
                promise to preserve the function, which is tried on noise each time.
        """
        if reason := self.refusal(specimen):
            raise Uneditable(f"{self.name()} of {specimen.name}: {reason}")
        chosen = self.with_choices(specimen)
        preserved = chosen.preserves(specimen)
        net, did = _operated(chosen, specimen, seed)
        did += chosen.adjust(net, specimen)
        edited = _specimen(chosen, specimen, net)
        if edited.digest() == specimen.digest():
            raise Uneditable(f"{self.name()} of {specimen.name} changes nothing.")
        try:
            after = count_multiply_adds(net, _grey(edited))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:  # what a network raises that does not fit together
            error_lines = str(error).strip().splitlines()
            raise Uneditable(
                f"{self.name()} of {specimen.name} leaves a network that does not run: {error_lines[0][:160] if error_lines else error!r}."
            ) from error
        if broken := _broken(preserved, specimen, edited):
            raise Uneditable(f"{self.name()} of {specimen.name} {broken}")
        counts = (
            (count_parameters(specimen.net), count_parameters(net)),
            (specimen.multiply_adds, after),
        )
        change = Change(chosen.name(), _plain(chosen), _line(chosen, did, preserved, *counts), preserved.how, *counts)
        return replace(edited, edits=(*specimen.edits, change), remarks=(*specimen.remarks, f"Edited: {change.line}"))


@dataclass(frozen=True)
class EditedMaker:
    """Builds an edited architecture again: the original by its own maker, then the edit."""

    base: Maker
    facts: Specimen  # of the original, without its weights
    edit: Edit

    @property
    def draws_from_seed(self) -> bool:
        """Whether the original's maker is known to draw all weights from the global generators."""
        return self.base.draws_from_seed

    def fresh(self, seed: int) -> nn.Module:
        """The edited architecture with new weights drawn under `seed`."""
        return _operated(self.edit, replace(self.facts, net=self.base.fresh(seed).eval()), seed)[0]

    def json(self) -> dict[str, Any]:
        """How to build it, as plain JSON values."""
        facts = self.base.json()
        return {
            "recipe": self.facts.recipe.json(),
            **facts,
            "edits": [*facts.get("edits", []), {"edit": self.edit.name(), "options": _plain(self.edit)}],
        }


def parse(word: str) -> Edit:
    """The edit that NAME or NAME:key=value,key=value stands for; a part without "=" goes on with the list before it.

    At the beginning, such parts belong to the edit's leading option, where it has one: cut:layer3,head=10.

    Raises:
        UnknownName: no such edit or option.
        BadOption: a value that it does not take.
    """
    name, _, rest = word.partition(":")
    entry = catalog.edit_entry(name.strip().replace("-", "_"))
    options: dict[str, str] = {}
    last = cast(type[Edit], entry.load()).lead if rest else ""
    for part in filter(None, (each.strip() for each in rest.split(","))):
        key, sign, value = part.partition("=")
        if not sign and not last:
            raise BadOption(f"'{part}' in '{word}' is not understood; write {entry.name}:option=value,option=value.")
        last, added = (key.strip().replace("-", "_"), value.strip()) if sign else (last, part)
        options[last] = f"{options[last]},{added}" if last in options else added
    return build_edit(entry.name, options)


def build_edit(name: str, given: Mapping[str, Any]) -> Edit:
    """The edit of that name with these options, as texts or values. Raises UnknownName or BadOption."""
    kind = cast(type[Edit], catalog.edit_entry(name).load())
    return options.build_from_words(kind, kind.name(), given)


def apply_edits(specimen: Specimen, edits: Sequence[Any], seed: int = SEED) -> Specimen:
    """The specimen after several edits in a row, each an `Edit`, its spelling, or the record {"edit", "options"}.

    New layers draw their first weights from `seed`.

    Raises:
        Uneditable, UnknownName, BadOption.
    """
    for change in edits:
        edit = (
            change
            if isinstance(change, Edit)
            else parse(change)
            if isinstance(change, str)
            else build_edit(change["edit"], change["options"])
        )
        specimen = edit.apply(specimen, seed)
    return specimen


def rebuild(specimen: Specimen, records: Sequence[Mapping[str, Any]]) -> Specimen:
    """The specimen's architecture after earlier edits, without counts or descriptions; weights are loaded later."""
    for record in records:
        edit = build_edit(record["edit"], record["options"])
        specimen = _specimen(edit, specimen, _operated(edit, specimen, SEED)[0])
    return specimen


def replace_module(net: nn.Module, path: str, module: nn.Module) -> None:
    """Replace the module at `path` of `net` in place."""
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, module)


def _operated(edit: Edit, specimen: Specimen, seed: int) -> tuple[nn.Module, str]:
    """A changed copy of the specimen's network, in eval mode, and what was done."""
    net = copy_network(specimen.net)
    with seed_generators(seed):
        did = edit.operate(net, specimen)
    kinds = {parameter.dtype for parameter in specimen.net.parameters() if parameter.is_floating_point()}
    net = (
        net.to(specimen.device, kinds.pop()) if len(kinds) == 1 else net.to(specimen.device)
    )  # new layers are like the old ones
    return net.eval(), did


def _specimen(edit: Edit, original: Specimen, net: nn.Module) -> Specimen:
    """The original's facts around a changed network: recipe, labels where there are as many outputs, family, how to open it."""
    asked = original.opened_as
    record = {"edit": edit.name(), "options": _plain(edit)}
    made_again = None
    if original.maker is not None:
        made_again = EditedMaker(original.maker, replace(original, net=nn.Identity(), maker=None), edit)
    changed = replace(
        original,
        net=net,
        name=f"{original.name} + {edit.to_cli()}",
        weights=f"{original.weights}, edited" if not original.edits else original.weights,
        recipe=edit.recipe(original),
        maker=made_again,
        opened_as=asked and {**asked, "edits": [*asked.get("edits", []), record]},
    )
    if original.names and _outputs(changed) not in (None, _outputs(original)):
        changed = replace(changed, names=None)
    return _placed(changed, original)


def _plain(edit: Edit) -> dict[str, Any]:
    """The options as JSON gives them back."""
    return json.loads(json.dumps(edit.options()))


def _spelt(value: Any) -> str:
    """An option's value as it is written on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(_spelt, cast(tuple[Any, ...], value)))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _outputs(specimen: Specimen) -> int | None:
    try:
        return specimen.outputs
    except SpecimenError:
        return None


def _placed(changed: Specimen, original: Specimen) -> Specimen:
    """The changed specimen with the original's family, unless the edit changed the family of its structure."""
    try:
        before = structural_family(original.anatomy.trace, original.anatomy.units, original.net)
        now = structural_family(changed.anatomy.trace, changed.anatomy.units, changed.net)
    except SpecimenError:
        return changed
    family = (original.family, original.family_reason) if before[0] == now[0] else (now[0], f"{now[1]}, since it was edited")
    copy = replace(changed, given_family=family)
    copy.__dict__["anatomy"] = changed.anatomy
    return copy


def _grey(specimen: Specimen) -> Tensor:
    """One input of the specimen's size (1, rgb, row, col), of nothing but zeros: what is counted does not depend on it."""
    dtype = next((p.dtype for p in specimen.net.parameters() if p.is_floating_point()), torch.float32)
    return torch.zeros(1, specimen.recipe.channels, *specimen.recipe.size, device=specimen.device, dtype=dtype)


def _broken(kept: Preservation, specimen: Specimen, edited: Specimen) -> str:
    """In what the copy breaks the promise to preserve the function, on two images of noise; empty where it keeps it."""
    if kept.how == "no" or specimen.recipe.size != edited.recipe.size:
        return ""
    x = example_input(specimen.net, specimen.recipe)
    one, two = (_predicted_score(each, x, 0) for each in (specimen, edited))
    if one is None or two is None or one.shape != two.shape or not bool(torch.isfinite(one).all()):
        return (
            "" if one is not None and two is not None and one.shape == two.shape else "does not give what the original gives."
        )
    gap, spread = float((one.double() - two.double()).abs().max()), float(one.double().std())
    finest = 0.0 if kept.within == 0 else max(kept.within, 8 * torch.finfo(one.dtype).eps)
    if gap <= finest * max(spread, float(one.abs().max())):
        return ""
    again = _predicted_score(specimen, x, 1)
    if again is not None and not torch.equal(one, again):
        return "cannot be checked: the outputs of the network are random, even for the same image (MT303?)."
    return f"should preserve the function {kept.how}, but outputs for noise differ by {gap:.3g}: a fault of this edit, please report it."


def _predicted_score(specimen: Specimen, x: Tensor, seed: int) -> Tensor | None:
    """What the network gives, with chance under a seed: some drop in evaluation as well."""
    with seed_generators(seed):
        return specimen.pick(specimen.run(x))


def _line(edit: Edit, did: str, kept: Preservation, weights: tuple[int, int], macs: tuple[float, float]) -> str:
    """One sentence: what was done, parameters and multiply-adds before and after, what became of the function."""
    how = {
        "exactly": "the function is preserved exactly",
        "approximately": "the function is preserved approximately",
        "no": "the function is not preserved",
    }[kept.how]
    more = f" ({format_change(*weights)})" if weights[0] else ""
    work = f" ({format_change(*macs)})" if macs[0] else ""
    return (
        f"{edit.name()} {did}: {weights[0]:,} → {weights[1]:,} parameters{more}, {macs[0] / 1e6:,.2f} → {macs[1] / 1e6:,.2f} M "
        f"multiply-adds{work}; {how}: {kept.why}."
    )


__all__ = ["Edit", "EditedMaker", "Preservation", "apply_edits", "build_edit", "option", "parse", "replace_module", "rebuild"]
