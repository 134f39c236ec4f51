"""Looking at what flows through a network: hooks that see a value before it is overwritten and that always go away.

`watch` reads values; `tap` cuts the graph below the tapped layers and gives gradients, with the parameters frozen meanwhile.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from microtome.errors import WatchError
from microtome.specimen.anatomy import OpenedNetwork
from microtome.specimen.arrangement import Arrangement
from microtome.specimen.full_gradients import freeze_parameters
from microtome.specimen.outputs import exchange_tensor, first_tensor, output_tensors, slow_attention

Each = Callable[[str, Tensor], None]
_Exchange = Callable[[str, Tensor], "Tensor | None"]  # sees a value and may hand on another in its place


@contextmanager
def watch(specimen: OpenedNetwork, names: str | Sequence[str], each: Each | None = None) -> Generator[dict[str, Tensor]]:
    """A dictionary that fills as the network runs: layer name -> clone of its output, or nothing where `each` is given.

    Outputs are (image, ...) in the layer's `shape`, however the module lays them out.

    `each(name, tensor)` is called inside the hook, before an in-place operation downstream can overwrite the tensor; the tensor
    is the network's own, so it must be cloned if kept. `names` are patterns as in `Specimen.find`, or "<name" for the first
    tensor that goes into a layer. Raises WatchError on leaving if a watched layer never ran.
    """
    seen: dict[str, Tensor] = {}

    def look(name: str, value: Tensor) -> None:
        if each is None:
            seen[name] = value.detach().clone()
        else:
            each(name, value)

    with slow_attention(), _Hooks(specimen, watched_names(specimen, names), look) as hooks:
        yield seen
        hooks.all_fired()


@dataclass
class Taps:
    """What was tapped: `activations` by layer name, and `gradients(scalar)` of anything computed from them."""

    activations: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    _names: tuple[str, ...] = ()
    _last: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def gradients(self, target: Tensor, retain: bool = False) -> dict[str, tuple[Tensor, Tensor]]:
        """name -> (activation, gradient of the sum of `target` by it), both of the layer's own shape.

        `retain` keeps the graph for another call. A layer that does not influence `target` has a gradient of zeros. Raises
        WatchError if a layer never ran, or if none of them leads to `target`.
        """
        for name in self._names:
            if name not in self.activations:
                raise WatchError(_never_ran_text(name))
        if not target.requires_grad:
            raise WatchError(f"No gradient leads from the given value back to {', '.join(self._names)}.")
        values = [self.activations[name] for name in self._names]
        slopes = torch.autograd.grad(target.sum(), values, retain_graph=retain, allow_unused=True)
        self._last = {
            name: torch.zeros_like(value) if slope is None else slope
            for name, value, slope in zip(self._names, values, slopes, strict=True)
        }
        return {name: (self.activations[name].detach(), self._last[name]) for name in self._names}

    def check(self) -> None:
        """Raise WatchError if the last gradient of some layer was zero everywhere."""
        silent = [name for name, slope in self._last.items() if not bool(slope.any())]
        if silent:
            raise WatchError(
                f"The gradient is zero everywhere at {', '.join(silent)}: nothing after it depends on those values."
            )


@contextmanager
def tap(specimen: OpenedNetwork, names: str | Sequence[str]) -> Generator[Taps]:
    """Taps that hold the activations of the named layers and give gradients by them (`Taps.gradients`).

    The first tapped layers become leaves of the graph, so nothing below them is stored; parameters do not require gradients
    inside the block, and their flags and `.grad` are as before afterwards. Works on frozen networks and under `torch.no_grad`.
    """
    listed = watched_names(specimen, names)
    taps = Taps(_names=listed)

    def cut(name: str, value: Tensor) -> Tensor | None:
        if not (value.is_floating_point() or value.is_complex()):
            raise WatchError(f"'{name}' gives whole numbers ({value.dtype}), which have no gradient.")
        kept = value if value.requires_grad else value.detach().requires_grad_()
        taps.activations[name] = kept
        return kept.clone()  # an in-place operation downstream then changes the clone, not what was recorded

    with freeze_parameters(specimen.net), slow_attention(), _Hooks(specimen, listed, cut):
        yield taps


@contextmanager
def replace_values(
    specimen: OpenedNetwork, names: str | Sequence[str], each: Callable[[str, Tensor], Tensor]
) -> Generator[None]:
    """The network hands on `each(name, tensor)` in place of what the named layers give, inside the block.

    Raises WatchError on leaving if one of the layers never ran.
    """
    with slow_attention(), _Hooks(specimen, watched_names(specimen, names), each) as hooks:
        yield
        hooks.all_fired()


def watched_names(specimen: OpenedNetwork, names: str | Sequence[str]) -> tuple[str, ...]:
    """The layer names that `names` stand for; a name that begins with "<" asks for the layer's input."""
    watched: list[str] = []
    for name in [names] if isinstance(names, str) else names:
        mark = "<" if name.startswith("<") else ""
        watched += [mark + layer for layer in specimen.find(name.removeprefix("<"))]
    return tuple(dict.fromkeys(watched))


def arrangement_of(specimen: OpenedNetwork, name: str) -> Arrangement | None:
    """How the raw tensor of a watched name becomes what is shown: the layer's own way, or for "<name" that of the tensor that goes in."""
    layer = specimen.layer(name.removeprefix("<"))
    if not name.startswith("<"):
        return layer.arrangement
    trace = specimen.anatomy.trace
    call = next(call for call in trace.calls if call.path == layer.path and call.index == (layer.call or 0))
    for other in trace.calls:
        if call.reads[:1] and call.reads[0] in other.gives:
            branch = other.gives.index(call.reads[0])
            named = [each for each in specimen.anatomy.layers if (each.path, each.call or 0) == (other.path, other.index)]
            return named[branch].arrangement
    # computed by a function between two modules: the axes of what the module gives, if it gives that shape
    return layer.arrangement if call.inputs[:1] == call.outputs[:1] else None


def _arguments(inputs: Any) -> list[Tensor]:
    """The tensors that go into a module: those of the first argument that has any."""
    parts: list[Any] = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
    return next((tensors for tensors in map(output_tensors, parts) if tensors), [])


def _never_ran_text(name: str) -> str:
    plain = name.removeprefix("<")
    return f"The layer '{plain}' was watched but never ran: run the network inside the block, on a path that reaches it."


class _Hooks:
    """Hooks for the given layer names; they are gone when the block ends, however it ends."""

    def __init__(self, specimen: OpenedNetwork, names: Sequence[str], exchange: _Exchange) -> None:
        self.specimen, self.names, self.exchange = specimen, names, exchange
        self.arrangements = {name: arrangement_of(specimen, name) for name in names}
        self.fired: set[str] = set()
        self.counts: dict[str, int] = {}
        self.handles: list[Any] = []

    def __enter__(self) -> "_Hooks":
        modules = dict(self.specimen.net.named_modules(remove_duplicate=False))
        inward: dict[str, list[str]] = {}
        outward: dict[str, list[str]] = {}
        for name in self.names:
            side = inward if name.startswith("<") else outward
            side.setdefault(self.specimen.layer(name.removeprefix("<")).path, []).append(name)
        self.handles.append(self.specimen.net.register_forward_pre_hook(self._restart))
        for path in dict.fromkeys((*inward, *outward)):
            self.handles.append(
                modules[path].register_forward_pre_hook(self._before(path, inward.get(path, [])), with_kwargs=True)
            )
            if path in outward:
                self.handles.append(modules[path].register_forward_hook(self._after(path, outward[path])))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def all_fired(self) -> None:
        for name in self.names:
            if name not in self.fired:
                raise WatchError(_never_ran_text(name))

    def _restart(self, _module: nn.Module, _inputs: Any) -> None:
        self.counts.clear()

    def _due_names(self, path: str, names: list[str]) -> list[tuple[str, int | None]]:
        """The names due at this call of `path`, each with its branch."""
        due: list[tuple[str, int | None]] = []
        for name in names:
            layer = self.specimen.layer(name.removeprefix("<"))
            # counted modulo the calls of one pass: somebody may run parts of the network, where no restart is seen
            if layer.call is None or layer.call == (self.counts[path] - 1) % layer.calls:
                due.append((name, layer.branch))
        return due

    def _hand_on(self, path: str, names: list[str], value: Any) -> tuple[Any, bool]:
        changed = False
        for name, branch in self._due_names(path, names):
            inward = name.startswith("<")
            tensors = _arguments(value) if inward else output_tensors(value)
            tensor = tensors[branch or 0] if len(tensors) > (branch or 0) else tensors[0] if tensors and inward else None
            if tensor is None:
                continue
            self.fired.add(name)
            arrangement = self.arrangements[name]
            new = self.exchange(name, tensor if arrangement is None else arrangement.arrange(tensor))
            if new is not None:
                raw = new if arrangement is None else arrangement.restore(new, tensor)
                value, changed = exchange_tensor(value, tensor, raw), True
        return value, changed

    def _before(self, path: str, names: list[str]) -> Callable[..., Any]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
            self.counts[path] = self.counts.get(path, 0) + 1
            if not names:
                return None
            if first_tensor(inputs) is not None:
                inputs, changed = self._hand_on(path, names, inputs)
            else:
                named, changed = self._hand_on(path, names, named)
            return (inputs, named) if changed else None

        return hook

    def _after(self, path: str, names: list[str]) -> Callable[..., Any]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            value, changed = self._hand_on(path, names, output)
            return value if changed else None

        return hook
