"""A forward pass written down as the operations that ran, and run again: for other batches, from the middle, with norms folded.

Whole numbers that grow with the batch (sizes given to `view` or `expand`) are told by two recordings, see `recording`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

INPUT = 0  # the number of the input among a tape's values


class ValueRef(NamedTuple):
    """A value of the tape, by number."""

    value: int


class GrowingNumber(NamedTuple):
    """A whole number that is `base + step · batch`."""

    base: int
    step: int


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: what it reads (nested `ValueRef`, `GrowingNumber`, constants), the values it gives, and the ones it overwrites."""

    func: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gives: tuple[int, ...]
    overwrites: tuple[int, ...] = ()  # values whose memory now holds one of `gives`
    aliased: bool = False  # it overwrites memory that another value sees too
    label: str = ""  # its name, where `func` is none of torch's

    @property
    def name(self) -> str:
        """The operation's name without its overload: "convolution", "relu_"."""
        return self.label or str(self.func.overloadpacket.__name__)

    @cached_property
    def reads(self) -> list[int]:
        """The values it reads."""
        return [leaf.value for leaf in iterate_leaves((self.args, self.kwargs)) if isinstance(leaf, ValueRef)]

    @cached_property
    def flat(self) -> bool:
        """Whether the values it reads are arguments themselves, not parts of lists, and nothing grows with the batch."""
        whole = sum(isinstance(arg, ValueRef) for arg in self.args)
        return whole == len(self.reads) and not any(
            isinstance(leaf, GrowingNumber) for leaf in iterate_leaves((self.args, self.kwargs))
        )

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """The argument at that place or of that name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


@dataclass(frozen=True, eq=False)
class Tape:
    """The operations in order, each value's shape for a batch of one, the output's number, and the numbers of watched values."""

    nodes: tuple[Node, ...]
    shapes: Mapping[int, tuple[int, ...]]
    output: int
    watched: Mapping[str, int]
    folded: bool = False  # whether norms were folded into convolutions
    last: Mapping[int, int] = field(default_factory=dict[int, int])  # value -> the last node that reads it

    @cached_property
    def moving(self) -> frozenset[int]:
        """The values that depend on the input."""
        moving_values = {INPUT}
        for node in self.nodes:
            if moving_values & set(node.reads):
                moving_values |= set(node.gives)
        return frozenset(moving_values)

    def run(
        self, known: Mapping[int, Tensor], start: int, batch: int, each: Callable[[str, Tensor], None] | None = None
    ) -> Tensor:
        """The output, from node `start` on, given the values that later nodes read; `each` sees the watched values."""
        values = dict(known)
        names = {number: name for name, number in self.watched.items()}
        for place in range(start, len(self.nodes)):
            node = self.nodes[place]
            for number, made in zip(node.gives, run_node(node, values, batch), strict=False):
                values[number] = made
                if each is not None and number in names:
                    each(names[number], made)
            for number in node.reads:
                if self.last.get(number) == place and number != self.output:
                    values.pop(number, None)
        return values[self.output]


def run_node(node: Node, values: Mapping[int, Tensor], batch: int) -> list[Tensor]:
    """What one operation gives for that batch."""
    if node.flat:
        made = node.func(*(values[arg.value] if isinstance(arg, ValueRef) else arg for arg in node.args), **node.kwargs)
        return [made] if isinstance(made, Tensor) else list(iterate_tensors(made))

    def filled(argument: Any) -> Any:
        if isinstance(argument, ValueRef):
            return values[argument.value]
        return argument.base + argument.step * batch if isinstance(argument, GrowingNumber) else argument

    args, kwargs = map_leaves(node.args, filled), map_leaves(node.kwargs, filled)
    if node.name in ("view", "_unsafe_view"):  # another batch may lie differently in memory
        return [args[0].reshape(args[1])]
    return list(iterate_tensors(node.func(*args, **kwargs)))


def without_overwriting(node: Node) -> Node:
    """The node with an operation that overwrites nothing."""
    if not node.overwrites:
        return node
    return replace(node, func=out_of_place_function(node), overwrites=())


def out_of_place_function(node: Node) -> Any:
    """The operation that gives the same without overwriting; None where torch has none."""
    packet = getattr(torch.ops.aten, node.name.rstrip("_"), None)
    return getattr(packet, node.func._overloadname, None)


def memory_layout(x: Tensor) -> torch.memory_format:
    """The memory layout of images: channels last or first."""
    wide = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if wide and x.shape[1] > 1 else torch.contiguous_format


NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "_batch_norm_no_update")


def norm_terms(node: Node) -> tuple[Any, Any, Any, Any, float] | None:
    """(gamma, beta, mean, variance, eps) of a batch norm in evaluation mode with constant terms, else None."""
    if node.name not in NORMS:
        return None
    quiet = node.name in ("_native_batch_norm_legit_no_training", "_batch_norm_no_update")
    if not quiet and node.args[5] is not False:
        return None
    terms = node.args[1:5]
    if any(isinstance(term, ValueRef) for term in terms) or terms[2] is None or terms[3] is None:
        return None
    return (*terms, float(node.args[-1]))


def iterate_leaves(value: Any) -> Iterator[Any]:
    """Everything in nested lists, tuples and dictionaries, in order."""
    if isinstance(value, ValueRef | GrowingNumber):
        yield value
    elif isinstance(value, Mapping):
        yield from iterate_leaves(list(cast(Mapping[Any, Any], value).values()))
    elif isinstance(value, list | tuple):
        for part in cast(Sequence[Any], value):
            yield from iterate_leaves(part)
    else:
        yield value


def map_leaves(value: Any, made: Callable[[Any], Any]) -> Any:
    """`value` with every leaf as `made` gives it."""
    if isinstance(value, ValueRef | GrowingNumber):
        return made(value)
    if isinstance(value, Mapping):
        return {key: map_leaves(part, made) for key, part in cast(Mapping[str, Any], value).items()}
    if isinstance(value, list | tuple):
        parts = [map_leaves(part, made) for part in cast(Sequence[Any], value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    return made(value)


def iterate_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors among the leaves."""
    return (leaf for leaf in iterate_leaves(value) if isinstance(leaf, Tensor))
