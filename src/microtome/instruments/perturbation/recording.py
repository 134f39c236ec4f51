"""Writing a forward pass down: two passes, of one image and of two, become a tape; norms are folded, what nothing reads left out.

What ran is seen below modules and functions, so it does not matter how a network is written. A tape knows nothing of branches that
depend on the data, of random numbers or of anything else it did not see: whoever uses one compares it with the network first.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from microtome.instruments.perturbation.fusing import fuse_nodes
from microtome.instruments.perturbation.tape import (
    INPUT,
    GrowingNumber,
    Node,
    Tape,
    ValueRef,
    iterate_tensors,
    map_leaves,
    memory_layout,
    norm_terms,
)
from microtome.numerics.graph.dispatching import Dispatching
from microtome.numerics.weights.folding import fold_norm


class RecordingFailed(Exception):
    """The pass cannot be written down so that it runs for other batches; the caller then runs the network itself."""


class _Recorder(Dispatching):
    """Writes down what runs; `light` computes next to nothing, where only sizes are wanted."""

    def __init__(
        self, picture: Tensor, light: Sequence[Node] | None = None, shapes: Mapping[int, tuple[int, ...]] | None = None
    ) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self.shapes: dict[int, tuple[int, ...]] = {INPUT: tuple(picture.shape)}
        self.numbers: dict[int, int] = {id(picture): INPUT}
        self.storages: dict[int, set[int]] = {}
        self.alive: list[Tensor] = []  # keeps ids from being given again
        self.light, self.known = light, shapes
        self.paused = False
        self._keep(picture)

    def number(self, tensor: Tensor) -> int | None:
        return self.numbers.get(id(tensor))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if self.paused:
            return func(*args, **named)
        call = (map_leaves(tuple(args), self._note_node), map_leaves(named, self._note_node))
        written = _overwritten_tensors(func, args, named)
        value = self._light(func, args) if self.light is not None else None
        value = func(*args, **named) if value is None else value
        if any(id(tensor) not in self.numbers for tensor in written):
            raise RecordingFailed("it changes its own parameters or buffers")
        overwrites = tuple(self.numbers[id(tensor)] for tensor in written)
        aliased = any(len(self.storages.get(_storage_id(tensor), set())) > 1 for tensor in written)
        gives = tuple(self._new(tensor) for tensor in iterate_tensors(value))
        self.nodes.append(Node(func, call[0], call[1], gives, overwrites, aliased))
        return value

    def _light(self, func: Any, args: Sequence[Any]) -> Any:
        """Something of the right sizes, None if only the operation itself determines them."""
        place = len(self.nodes)
        if self.light is None or self.known is None or place >= len(self.light):
            return None
        name = func.overloadpacket.__name__
        if name == "addmm":  # rows are images, or tokens of them: as many times more as there are images
            return args[1].new_zeros((len(args[1]), args[2].shape[1]))
        if name in ("relu_", "add_"):
            return args[0]
        if name in ("relu", "native_batch_norm") or (name == "add" and _same_structure(*args[:2])):
            light = torch.ops.aten.alias(args[0])
            return (light, light.new_empty(0), light.new_empty(0)) if name == "native_batch_norm" else light
        if name != "convolution":
            return None
        shape = self.known[self.light[place].gives[0]]
        made = args[0].new_zeros((2 * shape[0], *shape[1:]))
        wide = any(arg.dim() == 4 and memory_layout(arg) is torch.channels_last for arg in args[:2])  # as kernels choose
        return made.contiguous(memory_format=torch.channels_last) if wide and made.dim() == 4 else made

    def _note_node(self, node: Any) -> Any:
        if isinstance(node, Tensor) and id(node) in self.numbers:
            return ValueRef(self.numbers[id(node)])
        return node

    def _new(self, tensor: Tensor) -> int:
        number = len(self.shapes)
        self.shapes[number] = tuple(tensor.shape)
        self.numbers[id(tensor)] = number
        self._keep(tensor)
        return number

    def _keep(self, tensor: Tensor) -> None:
        self.alive.append(tensor)
        self.storages.setdefault(_storage_id(tensor), set()).add(id(tensor))


Each = Callable[[str, Tensor], None]
Watching = Callable[[Each], AbstractContextManager[Any]]  # a context in which the given function is told of the watched values


class Recording:
    """The pass of `net` on one image `x` (1, rgb, row, col) written down; `each` sees the watched values on the way.

    `output` is what the network gave, `draft` a tape that runs for one image only.

    Raises:
        RecordingFailed: a value wanted is not among what was seen, or the network changes its own parameters or buffers.
    """

    def __init__(self, net: Callable[[Tensor], Tensor], x: Tensor, watching: Watching, each: Each) -> None:
        self.net, self.x, self.watching = net, x, watching
        self.first, self.seen, self.output = _record_pass(net, x, watching, each, None)
        number = self.first.number(self.output)
        if number is None:
            raise RecordingFailed("the output was not seen")
        self.number, self.kept = number, {number, *self.seen.values()}
        self.draft = self._record_tape(_used_nodes(self.first.nodes, self.kept))

    def tape(self) -> Tape:
        """The tape for any number of images, from a second pass with two images; norms are folded, sums and ReLUs joined.

        Raises:
            RecordingFailed: the two passes differ in more than sizes.
        """
        twice = torch.cat([self.x, self.x]).contiguous(memory_format=memory_layout(self.x))
        second, _, _ = _record_pass(self.net, twice, self.watching, lambda *_: None, self.first)
        whole = _used_nodes(_with_growing_numbers(self.first.nodes, second.nodes), self.kept)
        plain = _used_nodes(_with_folded_norms(whole, self.kept), self.kept)
        return self._record_tape(fuse_nodes(plain, self.first.shapes, self.kept), len(plain) < len(whole))

    def _record_tape(self, nodes: Sequence[Node], lighter: bool = False) -> Tape:
        last = {value: place for place, node in enumerate(nodes) for value in node.reads}
        return Tape(tuple(nodes), self.first.shapes, self.number, self.seen, lighter, last)


def _record_pass(
    net: Callable[[Tensor], Tensor], x: Tensor, watching: Watching, each: Each, like: _Recorder | None
) -> tuple[_Recorder, dict[str, int], Tensor]:
    picture = x.clone(memory_format=torch.preserve_format)
    mode = _Recorder(picture, like.nodes if like else None, like.shapes if like else None)
    seen: dict[str, int] = {}

    def look(name: str, value: Tensor) -> None:
        number = mode.number(value)
        if number is None:
            raise RecordingFailed(f"the value of {name} was not seen")
        seen[name] = number
        mode.paused = True
        each(name, value)
        mode.paused = False

    with torch.no_grad(), watching(look), mode:
        output = net(picture)
    return mode, seen, output


def _with_growing_numbers(first: Sequence[Node], second: Sequence[Node]) -> list[Node]:
    """The nodes of the first pass (of one image), whole numbers that differ in the second (of two) growing with the batch."""
    if len(first) != len(second):
        raise RecordingFailed("the number of operations depends on the batch")
    nodes: list[Node] = []
    for one, two in zip(first, second, strict=True):
        if one.func is not two.func or one.gives != two.gives:
            raise RecordingFailed("the operations depend on the batch")
        nodes.append(replace(one, args=_pair_values(one.args, two.args), kwargs=_pair_values(one.kwargs, two.kwargs)))
    return nodes


def _pair_values(values: Any, two: Any) -> Any:
    if isinstance(values, ValueRef | Tensor):
        same = values == two if isinstance(values, ValueRef) else values is two
        if not same:
            raise RecordingFailed("a constant depends on the batch")
        return values
    if isinstance(values, Mapping):
        other = cast(Mapping[str, Any], two)
        return {key: _pair_values(value, other[key]) for key, value in cast(Mapping[str, Any], values).items()}
    if isinstance(values, list | tuple):
        parts, others = cast(Sequence[Any], values), cast(Sequence[Any], two)
        if len(parts) != len(others):
            raise RecordingFailed("the number of arguments depends on the batch")
        made = [_pair_values(*pair) for pair in zip(parts, others, strict=True)]
        return tuple(made) if isinstance(values, tuple) else made
    if type(values) is int and type(two) is int and values != two:
        return GrowingNumber(2 * values - two, two - values)
    if values is not two and values != two:
        raise RecordingFailed("an argument depends on the batch")
    return values


def _with_folded_norms(nodes: Sequence[Node], kept: set[int]) -> list[Node]:
    """The nodes with each batch norm in evaluation mode folded into the convolution whose output it alone reads."""
    readers: dict[int, int] = {}
    for node in nodes:
        for value in node.reads:
            readers[value] = readers.get(value, 0) + 1
    makers = {node.gives[0]: place for place, node in enumerate(nodes) if node.name == "convolution"}
    made = list(nodes)
    for place, node in enumerate(nodes):
        terms = norm_terms(node)
        source = node.args[0].value if terms is not None and isinstance(node.args[0], ValueRef) else None
        if terms is None or source not in makers or readers[source] > 1 or source in kept:
            continue
        conv = nodes[makers[source]]
        weight, bias = conv.args[1:3]
        if isinstance(weight, ValueRef) or isinstance(bias, ValueRef) or conv.args[6] is not False:
            continue
        with torch.no_grad():
            both = fold_norm(weight, bias, *terms[:4], terms[4])
        fused = replace(
            conv, args=(conv.args[0], both[0].contiguous(memory_format=memory_layout(weight)), both[1], *conv.args[3:])
        )
        made[makers[source]] = replace(fused, gives=node.gives[:1])
        made[place] = replace(node, gives=())  # nothing reads it any more
    return [node for node in made if node.gives]


def _used_nodes(nodes: Sequence[Node], kept: set[int]) -> list[Node]:
    """The nodes without those that nothing reads."""
    wanted, used = set(kept), list[Node]()
    for node in reversed(nodes):
        if node.overwrites or wanted & set(node.gives):
            wanted |= set(node.reads)
            used.append(node)
    return used[::-1]


def _overwritten_tensors(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that the operation overwrites."""
    overwritten: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            overwritten += iterate_tensors(args[place] if place < len(args) else kwargs.get(argument.name))
    return overwritten


def _same_structure(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and (not isinstance(other, Tensor) or one.shape == other.shape)


def _storage_id(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
