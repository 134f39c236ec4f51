"""The layers of a network by name: what kind each is, what shape it gives, and where rows and columns sit in that shape."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.specimen.arrangement import Arrangement
from microtome.specimen.axes import AxisProbe, AxisReader, Key, Reading
from microtome.specimen.layouts import Grid, Layout, LayoutReader
from microtome.specimen.recipe import Recipe
from microtome.specimen.tracing import BATCH, Call, Mark, Trace

Kind = Literal["conv", "linear", "norm", "act", "pool", "attention", "block", "container", "head", "other"]

MORE_PASSES = 2  # at most, to follow places through attention
ATTENTION = re.compile(
    r"attention|attn|squeezeexcit|^se(module|layer|block|gate)?$|(^|_)eca|ecamodule|ceca|cbam|gatherexcite|effectivese", re.I
)
ACTIVATION = re.compile(r"relu|gelu|silu|swish|mish|sigmoid|tanh|softmax|softplus|(^|[a-z])act(ivation)?$", re.I)


@dataclass(frozen=True)
class Layer:
    """One output of one call of one module.

    `shape` is for one image, without the batch axis, as `watch` and `tap` give it: `arrangement` says how it comes from what the module
    gives, where that is anything else (sequence first, windows, tokens in an order of their own). `layout` says which axes it has:
    "nchw" (unit, row, col), "nhwc" (row, col, unit), "tokens" (token, unit; the first `prefix` tokens are class or register tokens, the
    rest fill `grid` row by row), "vector" (unit), "other". `units` counts channels or features; `order` is the place in execution
    order, by first output.
    """

    name: str
    kind: Kind
    module: str
    shape: tuple[int, ...]
    layout: Layout
    grid: Grid | None
    units: int
    prefix: int
    parameters: int
    calls: int
    order: int
    path: str
    branch: int | None = None
    call: int | None = None
    arrangement: Arrangement | None = None

    @property
    def has_positions(self) -> bool:
        """Whether it gives a map of more than one position, or tokens on such a grid."""
        return self.grid not in (None, (1, 1))

    def maps(self, value: Tensor) -> Tensor:
        """The layer's output as maps (image, unit, row, col): tokens without the prefix, a vector as one position.

        `value` may come from another input size than the recipe's. Raises SpecimenError for layout "other".
        """
        if self.layout == "nchw":
            return value
        if self.layout == "nhwc":
            return value.permute(0, 3, 1, 2)
        if self.layout == "vector":
            return value[:, :, None, None]
        if self.layout == "tokens" and self.grid is None:
            raise SpecimenError(
                f"The layer '{self.name}' gives {self.shape[0]} tokens that respond to no one place of the image each, so they cannot be "
                "laid out as a map; take an earlier layer."
            )
        if self.layout == "tokens" and self.grid is not None:
            tokens = value[:, self.prefix :]
            rows, cols = fitted_grid(tokens.shape[1], self.grid)
            return tokens.transpose(1, 2).reshape(len(value), -1, rows, cols)
        raise SpecimenError(
            f"The layer '{self.name}' gives shape {self.shape}, in which rows and columns cannot be identified."
        )


def fitted_grid(count: int, like: Grid) -> Grid:
    """(rows, cols) that hold `count` positions in about the proportion of `like`. Raises SpecimenError where none does."""
    if like[0] * like[1] == count:
        return like
    rows = round((count * like[0] / like[1]) ** 0.5)
    if rows and count % rows == 0:
        return rows, count // rows
    raise SpecimenError(f"{count} tokens do not fill a grid in the proportion {like[0]} x {like[1]}.")


def named_layers(trace: Trace, net: nn.Module, blocks: frozenset[str], recipe: Recipe) -> tuple[Layer, ...]:
    """The layers of a trace in execution order; `blocks` are the module paths that are removable units.

    The network is passed once more where the axes of some outputs are not certain.
    """
    by_path = trace.by_path()
    readings = read_axes(trace, net, recipe)
    head = head_path(trace)
    sizes = {path: sum(parameter.numel() for parameter in calls[0].module.parameters()) for path, calls in by_path.items()}
    layers: list[Layer] = []
    for call in trace.calls:
        several, many = len(by_path[call.path]) > 1, len(call.outputs) > 1
        kind: Kind = "head" if call.path == head else "block" if call.path in blocks else kind_of(call.module)
        if kind == "container" and call.path in trace.attention:
            kind = "attention"
        for branch in range(len(call.outputs)):
            reading = readings[call.path, call.index, branch]
            layers.append(
                Layer(
                    name=call.path + (f"#{call.index}" if several else "") + (f"[{branch}]" if many else ""),
                    kind=kind,
                    module=type(call.module).__name__,
                    shape=reading.shape,
                    layout=reading.layout,
                    grid=reading.grid,
                    units=reading.units,
                    prefix=reading.prefix,
                    parameters=sizes[call.path],
                    calls=len(by_path[call.path]),
                    order=len(layers),
                    path=call.path,
                    branch=branch if many else None,
                    call=call.index if several else None,
                    arrangement=reading.arrangement,
                )
            )
    return tuple(layers)


def read_axes(trace: Trace, net: nn.Module, recipe: Recipe) -> dict[Key, Reading]:
    """The axes of every output of a trace: by the kind of module where that is certain, else measured in one further pass."""
    headed = (
        tuple(  # within self-attention on tokens the heads are an axis: (head, token, feature) only looks like (unit, row, col)
            call.path + "."
            for call in trace.calls
            if kind_of(call.module) == "attention" and any(len(s) == 3 for s in call.outputs)
        )
    )
    reader = LayoutReader(trace.grid, getattr(net, "num_prefix_tokens", None), headed)
    for call in sorted(trace.calls, key=lambda call: call.begun)[:1]:
        reader.enter(call.inputs[0] if call.inputs else ())
    guesses: dict[Key, Reading] = {}
    sources: dict[Key, Mark] = {}  # outputs that have the axes of a tensor that was seen before
    wanted: dict[Key, tuple[int, ...]] = {}
    steps: Grid | None = None
    seen: set[Mark] = set()
    for call in trace.calls:
        for branch, mark in enumerate(call.gives):
            key = call.path, call.index, branch
            layout, shape, grid, units, prefix = reader.read(call, branch)
            guesses[key] = Reading(layout, shape, grid, units, prefix, hint=reader.suggest_order(shape))
            source = mark if mark in seen else call.reads[0] if _keeps_axes(call) and call.reads[0] in seen else None
            if source is not None:
                sources[key] = source
            elif not reader.is_certain(call, branch, guesses[key].layout):
                wanted[key] = call.outputs[branch]
                steps = steps or next(iter(reader.grids[-1:]), None)
            seen.add(mark)
    if not wanted:
        return guesses
    probe = AxisProbe(net, wanted, steps or trace.grid)
    probe.run(recipe)
    readings = _measured(trace, AxisReader(probe), guesses, sources)
    used: set[Key] = set()
    for _ in range(
        MORE_PASSES
    ):  # behind an attention that mixes everything: places are followed from the last output that has them
        placeless = (key for key in wanted if readings[key].grid is None and len(readings[key].shape) == 2)
        unplaced = [key for key in placeless if key in probe.responses]
        start = _last_placed(trace, readings, unplaced[0]) if unplaced else None
        if start is None or start in used:
            break
        used.add(start)
        more = AxisProbe(net, {key: wanted[key] for key in unplaced}, probe.steps)
        more.run(recipe, (start, readings[start]))
        probe.responses |= more.responses
        readings = _measured(trace, AxisReader(probe), guesses, sources)
    return readings


def _last_placed(trace: Trace, readings: dict[Key, Reading], key: Key) -> Key | None:
    """The output with a grid that a module reads, else the last one before it; None where there is none."""
    before: list[tuple[Key, Mark]] = []
    for call in trace.calls:
        if (call.path, call.index) == key[:2]:
            direct = [each for each, mark in before if mark in call.reads]
            return (direct or [each for each, _ in before] or [None])[-1]
        for branch, mark in enumerate(call.gives):
            reading = readings[call.path, call.index, branch]
            if reading.grid not in (None, (1, 1)) and reading.layout != "vector":
                before.append(((call.path, call.index, branch), mark))
    return None


def _measured(trace: Trace, reader: AxisReader, guesses: dict[Key, Reading], sources: dict[Key, Mark]) -> dict[Key, Reading]:
    """The readings of one further pass, in the order of the trace; those of one tensor are the same."""
    by_mark: dict[Mark, Reading] = {}
    readings: dict[Key, Reading] = {}
    for call in trace.calls:
        for branch, mark in enumerate(call.gives):
            key = call.path, call.index, branch
            readings[key] = by_mark[sources[key]] if key in sources else reader.read(key, guesses[key])
            by_mark[mark] = readings[key]
    return readings


def _keeps_axes(call: Call) -> bool:
    """Whether a module works on every element, or normalises, and so leaves axes what they are."""
    plain = kind_of(call.module) in ("act", "norm") or isinstance(call.module, nn.Identity | nn.modules.dropout._DropoutNd)  # pyright: ignore[reportPrivateUsage]
    return plain and len(call.outputs) == 1 and call.inputs[:1] == call.outputs


def kind_of(module: nn.Module) -> Kind:
    """What a module is by itself, by type where torch has one and else by name."""
    name = type(module).__name__
    if isinstance(module, nn.modules.conv._ConvNd):  # pyright: ignore[reportPrivateUsage]
        return "conv"
    if isinstance(module, nn.Linear) or name in ("Conv1D", "NonDynamicallyQuantizableLinear"):
        return "linear"
    if is_norm(module):
        return "norm"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if ".activation" in type(module).__module__ and "MultiheadAttention" not in name:
        return "act"
    leaf = next(module.children(), None) is None
    if "pool" in name.lower() and not weight_layers(module):
        return "pool"
    if ATTENTION.search(name) and weight_layers(module):
        return "attention"
    if leaf:
        return "act" if ACTIVATION.search(name) else "other"
    return "container"


def is_norm(module: nn.Module) -> bool:
    """Whether the module normalises: torch's own classes, or a name with "Norm" and no convolution inside."""
    kinds = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)  # pyright: ignore[reportPrivateUsage]
    if isinstance(module, kinds):
        return True
    return "norm" in type(module).__name__.lower() and not weight_layers(module)


def is_weight(module: nn.Module) -> bool:
    """Whether the module is a convolution or a linear map."""
    return isinstance(module, nn.modules.conv._ConvNd | nn.Linear) or type(module).__name__ == "Conv1D"  # pyright: ignore[reportPrivateUsage]


def weight_layers(module: nn.Module) -> list[nn.Module]:
    """The convolutions and linear maps in a module, itself included."""
    return [part for part in module.modules() if is_weight(part)]


def output_count(trace: Trace) -> int | None:
    """How many numbers the measured output has for one image, None where it is not a vector of floating-point numbers."""
    if trace.choice is None or not trace.choice.chosen.dtype.is_floating_point:
        return None
    shape = trace.choice.chosen.shape
    shape = shape[: max((axis + 1 for axis, side in enumerate(shape) if axis < 2 or side != 1), default=0)]
    if shape == (BATCH,):
        return 1
    return int(shape[1]) if len(shape) == 2 and shape[0] == BATCH else None


def head_path(trace: Trace) -> str | None:
    """The path of the weight layer that gives the measured output, else of the last one, if it has as many units as that output."""
    outputs = output_count(trace)
    weights = [call for call in trace.calls if is_weight(call.module)]
    if not weights or outputs is None or trace.choice is None:
        return None
    last = next((call for call in reversed(weights) if trace.choice.chosen.mark in call.gives), weights[-1])
    weight: Any = last.module.weight
    return last.path if last.outputs and isinstance(weight, Tensor) and outputs in weight.shape[:2] else None


def given_by_weights(trace: Trace) -> dict[tuple[int, int], str]:
    """The tensors that weight layers gave, as marks, with the layers' paths."""
    return {mark: call.path for call in trace.calls if is_weight(call.module) for mark in call.gives}


def module_layers(layers: Sequence[Layer]) -> dict[str, list[Layer]]:
    """Module path -> its layers: one, or one for each call and branch."""
    by_path: dict[str, list[Layer]] = {}
    for layer in layers:
        by_path.setdefault(layer.path, []).append(layer)
    return by_path


def device_of(net: nn.Module) -> torch.device:
    """The device of the network's first parameter or buffer; the CPU where it has none."""
    first = next(net.parameters(), None)
    first = next(net.buffers(), None) if first is None else first
    return torch.device("cpu") if first is None else first.device
