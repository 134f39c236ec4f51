"""Which of a network's outputs is measured: every tensor that a forward pass gave, by name, and the one that is chosen.

A tensor is named by the way to it: the place in a tuple or list, the key of a dictionary, the field of a data class or named tuple,
joined by dots ("1", "out", "heads.age"). A network that gives one tensor gives it under the empty name.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError, UnknownName, did_you_mean, hint, option_hint, option_name

MAX_DEPTH = 5  # of nested containers that are looked into
MAX_LISTED = 8  # outputs that a message lists
# What libraries and scripts call the answer, the surest first.
ANSWER_NAMES = (
    *("logits", "class_logits", "cls_logits", "pred_logits", "scores", "cls_score", "out"),
    *("prediction", "predictions", "preds", "pred", "output", "outputs", "y_hat", "y"),
)


@dataclass(frozen=True)
class Output:
    """One tensor of what the network gave: its name, its shape for the traced batch, which tensor it is, and its type."""

    name: str
    shape: tuple[int, ...]
    mark: tuple[int, int]
    dtype: torch.dtype

    @property
    def text(self) -> str:
        """The name, and the shape for one image."""
        return f"{self.name or 'the tensor'} ({' x '.join(map(str, self.shape[1:])) or 'one number'})"


@dataclass(frozen=True)
class OutputChoice:
    """The output that is measured, all outputs, and why this one, as the end of a sentence."""

    chosen: Output
    every: tuple[Output, ...]
    why: str

    @property
    def name(self) -> str:
        """The chosen output's name; empty where there is no other."""
        return self.chosen.name if len(self.every) > 1 else ""

    def note(self) -> str:
        """Which output is measured, why, and how to choose another; empty where there is only one."""
        if len(self.every) < 2:
            return ""
        return (
            f"It gives {len(self.every)} outputs: {list_outputs(self.every)}. Output '{self.chosen.name}' is measured, {self.why}; "
            f"{hint('--output NAME', 'output=NAME')} chooses another."
        )


def named_tensors(value: Any) -> dict[str, Tensor]:
    """Every tensor in whatever a network returned, by the way to it, in order."""
    return dict(_walk(value, "", MAX_DEPTH))


def _walk(value: Any, way: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield way, value
        return
    if depth:
        for name, part in _parts(value):
            yield from _walk(part, f"{way}.{name}" if way else name, depth - 1)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a container holds, by name; nothing for what is no container."""
    if isinstance(value, Mapping):
        return [(str(key), part) for key, part in cast(Mapping[Any, Any], value).items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(cast(Any, value)._fields, cast(Sequence[Any], value), strict=True))
    if isinstance(value, list | tuple):
        return [(str(place), part) for place, part in enumerate(cast(Sequence[Any], value))]
    if isinstance(value, type | nn.Module | str | bytes | int | float | None):
        return []
    if dataclasses.is_dataclass(value):
        return [(each.name, getattr(value, each.name, None)) for each in dataclasses.fields(value)]
    slots = [name for kind in type(value).__mro__ for name in _slots(kind) if hasattr(value, name)]
    attributes = {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}
    return [(str(name), part) for name, part in attributes.items() if not str(name).startswith("_")]


def _slots(kind: type) -> Sequence[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def choose_output(
    outputs: Sequence[Output], asked: str | None, heads: Mapping[tuple[int, int], str], classes: int | None, batch: int
) -> OutputChoice | None:
    """The output to measure: the one asked for, else by rule; None where the network gives no tensor.

    `heads` are the tensors that weight layers gave, with the layers' paths, `classes` the number of labels if known, `batch` the number
    of images traced. Raises UnknownName for an output that is not there.
    """
    every = tuple(outputs)
    if asked is not None:
        return OutputChoice(_named_output(asked, every), every, "as asked for")
    if not every:
        return None
    numbers = [each for each in every if each.dtype.is_floating_point]
    fit = [each for each in numbers if each.shape[:1] == (batch,)] or numbers or list(every)
    vectors = [each for each in fit if each.shape[:1] == (batch,) and len(each.shape) == 2]
    if classes is not None and len(known := [each for each in vectors if each.shape[1] == classes]) == 1:
        return OutputChoice(known[0], every, f"the only one with a number for each of the {classes} labels")
    for name in ANSWER_NAMES:
        called = [each for each in fit if each.name.rpartition(".")[2].lower() == name]
        if called:
            return OutputChoice(called[0], every, "by its name")
    given = [each for each in vectors if each.mark in heads]
    if given:
        which = "the only one" if len(given) == 1 else "the first"
        return OutputChoice(given[0], every, f"{which} that a linear layer gives ('{heads[given[0].mark]}')")
    return OutputChoice(fit[0], every, "the first, since nothing says which one is the answer")


def _named_output(asked: str, every: Sequence[Output]) -> Output:
    """The output of that name, or at that place. Raises UnknownName."""
    by_name = {each.name: each for each in every}
    if asked in by_name:
        return by_name[asked]
    tops = list(dict.fromkeys(name.partition(".")[0] for name in by_name))
    if asked.lstrip("-").isdigit() and -len(tops) <= int(asked) < len(tops):
        asked_top = tops[int(asked)]
        inside = [each for each in every if each.name == asked_top or each.name.startswith(asked_top + ".")]
    else:
        inside = [each for each in every if each.name.startswith(asked + ".")]
    if len(inside) == 1:
        return inside[0]
    if inside:
        raise UnknownName(
            f"Output '{asked}' holds {len(inside)} tensors: {list_outputs(inside)}. Try {option_hint('output', inside[0].name)}"
        )
    if not every:
        raise UnknownName(f"There is no output '{asked}', for the network gives no tensor.")
    if len(every) == 1 and not every[0].name:
        raise UnknownName(
            f"There is no output '{asked}': the network gives {every[0].text} alone; leave {option_name('output')} out."
        )
    near = did_you_mean(asked, by_name) if len(by_name) > 1 else ""
    raise UnknownName(
        f"There is no output '{asked}'.{near if 'Did you mean' in near else ''} It gives {list_outputs(every)}. "
        f"Try {option_hint('output', every[0].name)}"
    )


def pick_output(value: Any, choice: OutputChoice | None, network: str) -> Tensor:
    """The chosen tensor of what a network gave. Raises SpecimenError where it is not there."""
    if isinstance(value, Tensor):
        return value
    if choice is None:
        raise SpecimenError(f"{network} gives no tensor, so there is nothing to measure.")
    tensors = named_tensors(value)
    if choice.chosen.name not in tensors:
        raise SpecimenError(
            f"{network} did not give its output '{choice.chosen.name}' this time, but {', '.join(tensors) or 'no tensor'}; "
            "what it gives must not depend on the images."
        )
    return tensors[choice.chosen.name]


def list_outputs(outputs: Sequence[Output]) -> str:
    """Names and shapes as words."""
    return ", ".join(each.text for each in outputs[:MAX_LISTED]) + (", …" if len(outputs) > MAX_LISTED else "")
