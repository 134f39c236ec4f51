"""One traced forward pass: what every module call took in and gave out, in order of completion.

Tensors are distinguished by the object itself and its version, so that "this container gives back the very tensor its last
block gave" is a fact and not a guess from shapes. A batch of two shows which axis is the batch.
"""

import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.numerics.graph.softmax_attention import AttentionMode, AttentionSize
from microtome.specimen.noise_images import noise_images
from microtome.specimen.output_choice import Output, OutputChoice, choose_output, named_tensors
from microtome.specimen.outputs import first_tensor, output_tensors, slow_attention
from microtome.specimen.recipe import Recipe
from microtome.specimen.run_failures import why_it_fails

BATCH = 2
Mark = tuple[int, int]  # which tensor object, and its version (in-place operations raise it)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one module: shapes are for the whole batch of `BATCH`."""

    path: str
    module: nn.Module
    index: int  # which call of this module, from 0
    order: int  # by completion
    begun: int  # by beginning
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    reads: tuple[Mark, ...]
    gives: tuple[Mark, ...]
    besides: frozenset[Mark] = frozenset()  # every tensor in what it gives, however nested


@dataclass(eq=False)
class Trace:
    """All calls of one forward pass in order of completion, what came out, which output is measured, and the modules never called."""

    calls: list[Call] = field(default_factory=list[Call])
    outputs: tuple[Output, ...] = ()
    choice: OutputChoice | None = None
    silent: tuple[str, ...] = ()
    grid: tuple[int, int] = (1, 1)
    image: tuple[int, ...] = ()  # the shape of the batch that went in
    attention: dict[str, AttentionSize] = field(default_factory=dict[str, AttentionSize])  # by the innermost module's path

    def by_path(self) -> dict[str, list[Call]]:
        """Module path -> its calls."""
        calls: dict[str, list[Call]] = {}
        for call in self.calls:
            calls.setdefault(call.path, []).append(call)
        return calls

    @cached_property
    def _readers(self) -> dict[Mark, list[Call]]:
        readers: dict[Mark, list[Call]] = {}
        for call in self.calls:
            for mark in call.reads:
                readers.setdefault(mark, []).append(call)
        return readers

    def is_read(self, mark: Mark, giver: Call) -> bool:
        """Whether a module that began after `giver` had ended reads that tensor."""
        return any(call.begun > giver.begun and not _is_inside(call, giver) for call in self._readers.get(mark, []))


def _is_inside(call: Call, outer: Call) -> bool:
    return call.path.startswith(outer.path + ".") and call.order < outer.order and call.begun > outer.begun


class _Marks:
    """Numbers for tensor objects; a later tensor at the same address gets another number."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self.next = 0

    def of(self, tensor: Tensor) -> Mark:
        entry = self.known.get(id(tensor))
        if entry is None or entry[0]() is not tensor:
            self.next += 1
            entry = (weakref.ref(tensor), self.next)
            self.known[id(tensor)] = entry
        # a tensor of inference mode keeps no count of its changes
        return entry[1], 0 if tensor.is_inference() else int(tensor._version)  # pyright: ignore[reportPrivateUsage]


def deep_tensors(value: Any) -> list[Tensor]:
    """Every tensor in nested lists and tuples of inputs, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in deep_tensors(part)]
    first = first_tensor(value)
    return [] if first is None else [first]


def example_input(net: nn.Module, recipe: Recipe) -> Tensor:
    """Noise of the recipe's size for `BATCH` images, on the network's device and in its dtype."""
    return noise_images(net, recipe, BATCH)


def input_layout(net: nn.Module) -> torch.memory_format:
    """The layout in which this network takes its images with no copy: channels-last where its kernels lie so."""
    wide = any(p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) for p in net.parameters())
    return torch.channels_last if wide else torch.contiguous_format


def trace(net: nn.Module, recipe: Recipe) -> Trace:
    """The traced forward pass of `net`; the network's parameters, buffers and hooks are as before afterwards.

    Raises SpecimenError where the network does not run on an input of the recipe's size.
    """
    trace_record, marks = Trace(grid=recipe.size), _Marks()
    counts: dict[str, int] = {}
    inside: list[str] = []
    begun: list[tuple[int, tuple[tuple[int, ...], ...], tuple[Mark, ...]]] = []
    started = 0

    def before(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            nonlocal started
            inside.append(path)
            tensors = deep_tensors(inputs) or deep_tensors(list(named.values()))
            begun.append((started, tuple(tuple(each.shape) for each in tensors), tuple(marks.of(each) for each in tensors)))
            started += 1

        return hook

    def note_attention(size: AttentionSize, _weights: Any) -> None:
        trace_record.attention.setdefault(inside[-1] if inside else "", size)

    def after(path: str) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            start, shapes, reads = begun.pop()
            inside.pop()
            tensors = output_tensors(output)
            index = counts.get(path, 0)
            counts[path] = index + 1
            given = tuple(tuple(each.shape) for each in tensors)
            done = tuple(marks.of(each) for each in tensors)
            besides = frozenset() if isinstance(output, Tensor) else frozenset(map(marks.of, named_tensors(output).values()))
            order = len(trace_record.calls)
            trace_record.calls.append(Call(path, module, index, order, start, shapes, given, reads, done, besides))

        return hook

    handles: list[Any] = []
    output: Any = None
    failure: Exception | None = None
    try:
        for path, module in net.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
                handles.append(module.register_forward_hook(after(path)))
        with torch.no_grad(), slow_attention(), AttentionMode(note_attention):
            x = example_input(net, recipe)
            trace_record.image = tuple(x.shape)
            output = net(x)
    except Exception as error:  # noqa: BLE001  # raised again below, when the hooks are gone
        failure = error
    finally:
        for handle in handles:
            handle.remove()
    if failure is not None:
        raise SpecimenError(why_it_fails(net, recipe, failure)) from failure
    if _alike(output) and _ignores_image(net, recipe, output):
        raise SpecimenError(
            f"The output of {type(net).__name__} is the same for every image, even for one filled with NaN: its forward does not read "
            "the image, so there is nothing to measure; hand over the network that does."
        )
    trace_record.outputs = tuple(
        Output(name, tuple(each.shape), marks.of(each), each.dtype) for name, each in named_tensors(output).items()
    )
    trace_record.attention = _over_positions(trace_record)
    trace_record.choice = choose_output(trace_record.outputs, None, {}, None, BATCH)
    heard = {path[:place] for path in counts for place in (*(i for i, sign in enumerate(path) if sign == "."), len(path))}
    trace_record.silent = tuple(
        path for path, module in net.named_modules() if path not in heard and path and _is_callable_module(module)
    )
    return trace_record


def _alike(output: Any) -> bool:
    """Whether no output differs between the images of the batch."""
    every = list(named_tensors(output).values())
    given = [each for each in every if each.ndim and each.shape[0] == BATCH]
    return bool(every) and all(torch.equal(each[:1].expand_as(each), each) for each in given)


def _ignores_image(net: nn.Module, recipe: Recipe, output: Any) -> bool:
    """Whether neither negative images change an output, nor those filled with NaN, which little arithmetic loses."""
    x, before = example_input(net, recipe), named_tensors(output)
    for image in (-x, torch.full_like(x, torch.nan)):
        with torch.no_grad():
            try:
                after = named_tensors(net(image))
            except Exception:  # noqa: BLE001  # it looked at the image, then
                return False
        if before.keys() != after.keys() or not all(torch.equal(value, after[name]) for name, value in before.items()):
            return False
    return True


def _over_positions(record: Trace) -> dict[str, AttentionSize]:
    """The attention of which the keys are positions: not that over channels, whose heads times keys are the units that went in."""
    calls = {call.path: call for call in record.calls if call.index == 0}

    def over_channels(path: str, size: AttentionSize) -> bool:
        shape = calls[path].inputs[0] if path in calls and calls[path].inputs else ()
        return size.heads * size.keys in shape[1:] and size.heads * size.features not in shape[1:]

    return {path: size for path, size in record.attention.items() if not over_channels(path, size)}


def _is_callable_module(module: nn.Module) -> bool:
    """Whether the module could be called at all: lists and dictionaries of modules cannot."""
    return not isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict)
