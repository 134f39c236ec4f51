"""The part of a network from one block on, for many changed copies: what comes before the block is computed once and kept.

`PrefixRuns` holds batches of images and, for the block where it stands, what the modules before the block gave for each batch. A pass of
the network, or of any copy that differs only from that block on, then takes those values in place of computing them. `advance` moves
on to a later block by running only the part in between. Which values are needed is tried once with NaN in place of all others; where a pass
from there on gives other values than the network itself, the whole network runs (`why` says so).
"""

import copy
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from microtome.specimen import Specimen
from microtome.specimen.blocks import Unit
from microtome.specimen.outputs import output_tensors
from microtome.specimen.tracing import Trace

TOLERANCE = 1e-5  # largest difference from the network itself, as a fraction of its largest output
Values = dict[str, Any]  # module path -> what the module gave for one batch


class _Arrived(Exception):  # not an error: the pass has come as far as it should
    """The block was reached."""


class PrefixRuns:
    """Batches of images (image, channel, row, col) on their way through `net`, kept at one of its blocks.

    `net` has the modules of `specimen`, whose trace says what runs before what; it may be changed at or after the block where this
    stands first.
    """

    def __init__(self, specimen: Specimen, net: nn.Module, batches: Sequence[Tensor]) -> None:
        self.specimen, self.net, self.batches = specimen, net, list(batches)
        self.trace: Trace = specimen.anatomy.trace
        self.kept: list[Values] = [{} for _ in self.batches]
        self.why = ""
        self.passes = 0.0  # images times the fraction of the network's calls that ran

    def advance(self, unit: Unit) -> None:
        """Stand at that block, which must not come before the one where this stands."""
        paths = [path for path in earlier_modules(self.trace, unit) if _holds_module(self.net, path)]
        if not paths or not self.batches:
            return
        entrance = unit.entry.path
        needed = self._needed(paths, entrance)
        if needed is None:
            self.kept = [{} for _ in self.batches]
            return
        self.kept = [self._moved(x, kept, paths, needed, entrance) for x, kept in zip(self.batches, self.kept, strict=True)]

    def runs(self, net: nn.Module | None = None) -> Iterator[Any]:
        """What `net` (by default the network itself) gives for each batch."""
        net = self.net if net is None else net
        with torch.no_grad():
            for x in self.inputs(net):
                yield net(x)

    def inputs(self, net: nn.Module) -> Iterator[Tensor]:
        """The batches; while one is in use, the modules of `net` before the block give what was kept for it."""
        for x, kept in zip(self.batches, self.kept, strict=True):
            with recall_values(net, kept):
                yield x

    def _moved(self, x: Tensor, kept: Values, paths: Sequence[str], needed: set[str], entrance: str) -> Values:
        """What the modules before the block gave for one batch; those that nothing reads any more are NaN of one image's size."""
        seen: Values = {}
        with torch.no_grad(), recall_values(self.net, kept), _recorded(self.net, paths, seen), _stopped(self.net, entrance):
            self.net(x)
        return {path: value if path in needed else _Blank(value) for path, value in seen.items()}

    def _needed(self, paths: Sequence[str], entrance: str) -> set[str] | None:
        """The modules whose values the later part reads; None where it cannot be run alone."""
        few = self.batches[0][:2]
        first = {path: _cut(value, len(few), len(self.batches[0])) for path, value in self.kept[0].items()}
        seen: Values = {}
        with torch.no_grad(), recall_values(self.net, first), _recorded(self.net, paths, seen):
            wanted = output_tensors(self.net(few))
        with torch.no_grad():
            self.net(few.flip(0) / 2)  # what modules remember besides is then of other images
        last = max(seen, key=self._ends, default="")
        for needed in ({last}, self._read_later(paths, entrance), set(paths)):
            tried = {path: value if path in needed else _Blank(value) for path, value in seen.items()}
            with torch.no_grad(), recall_values(self.net, tried):
                try:
                    given = output_tensors(self.net(few))
                except (RuntimeError, TypeError, ValueError, AttributeError):
                    continue
            if _same_outputs(wanted, given):
                return set(needed)
        self.why = "run from a block on, it gives other values than the network itself"
        return None

    def _ends(self, path: str) -> int:
        return max(call.order for call in self.trace.calls if call.path == path)

    def _read_later(self, paths: Sequence[str], entrance: str) -> set[str]:
        """The modules of which a module from the block on reads a value, and the last."""
        begun = min(call.begun for call in self.trace.calls if call.path == entrance)
        read = {mark for call in self.trace.calls if call.begun >= begun for mark in call.reads}
        givers = {call.path for call in self.trace.calls if call.path in set(paths) and set(call.gives) & read}
        return givers | {max(paths, key=self._ends)}


def earlier_modules(trace: Trace, unit: Unit) -> list[str]:
    """The outermost modules all of whose calls had ended before the block began."""
    begun, order = unit.entry.begun, unit.entry.order
    late = {call.path for call in trace.calls if not (call.begun < begun and call.order < order)}
    early = {call.path for call in trace.calls} - late
    return [path for path in early if not any(path.startswith(f"{other}.") for other in early)]


@contextmanager
def recall_values(net: nn.Module, values: Mapping[str, Any]) -> Generator[None]:
    """The modules at these paths give copies of the values in place of running, inside the block."""
    changed: list[nn.Module] = []
    try:
        for path, value in values.items():
            module = net.get_submodule(path)
            if "forward" in module.__dict__:
                continue
            module.__dict__["forward"] = lambda *_, kept=value, **__: _copied(kept)
            changed.append(module)
        yield
    finally:
        for module in changed:
            del module.__dict__["forward"]


class _Blank:
    """Stands for a value that nothing reads: its shapes, filled with NaN when it is asked for."""

    def __init__(self, value: Any) -> None:
        self.form = value.form if isinstance(value, _Blank) else _mapped(value, lambda tensor: tensor.to("meta"))
        self.device = (
            value.device if isinstance(value, _Blank) else next((t.device for t in _tensors(value)), torch.device("cpu"))
        )

    def filled(self) -> Any:
        """The value, all NaN (zeros of whole numbers)."""
        return _mapped(self.form, self._fill)

    def _fill(self, tensor: Tensor) -> Tensor:
        number = float("nan") if tensor.is_floating_point() else 0
        return torch.full(tensor.shape, number, dtype=tensor.dtype, device=self.device)


@contextmanager
def _recorded(net: nn.Module, paths: Sequence[str], seen: Values) -> Generator[None]:
    """Keep copies of what the modules at these paths give."""

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[path] = _copied(output)

        return hook

    handles = [net.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _stopped(net: nn.Module, entrance: str) -> Generator[None]:
    """End the pass where the module at `entrance` begins."""

    def stop(_module: nn.Module, _inputs: Any) -> None:
        raise _Arrived

    handle = net.get_submodule(entrance).register_forward_pre_hook(stop) if _holds_module(net, entrance) else None
    try:
        yield
    except _Arrived:
        pass
    finally:
        if handle is not None:
            handle.remove()


def _holds_module(net: nn.Module, path: str) -> bool:
    try:
        net.get_submodule(path)
    except AttributeError:
        return False
    return True


def _copied(value: Any) -> Any:
    """A copy that an in-place operation downstream may overwrite."""
    return value.filled() if isinstance(value, _Blank) else _mapped(value, lambda tensor: tensor.clone())


def _cut(value: Any, count: int, whole: int) -> Any:
    """The first `count` images of a value of `whole` of them, wherever their axis (or windows of them) comes first."""
    if isinstance(value, _Blank):
        made = copy.copy(value)
        made.form = _cut(value.form, count, whole)
        return made

    def part(tensor: Tensor) -> Tensor:
        if not tensor.dim() or len(tensor) % whole:
            return tensor
        return tensor[: len(tensor) // whole * count]

    return _mapped(value, part)


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The value with every tensor in its lists, tuples and dictionaries changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list):
        return [_mapped(part, change) for part in cast(list[Any], value)]
    if isinstance(value, tuple):
        parts = [_mapped(part, change) for part in cast(tuple[Any, ...], value)]
        return cast(Any, type(value))(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, dict):
        mapping = cast(dict[Any, Any], value)
        return {key: _mapped(part, change) for key, part in mapping.items()}
    return value


def _tensors(value: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    _mapped(value, lambda tensor: (tensors.append(tensor), tensor)[1])
    return tensors


def _same_outputs(wanted: Sequence[Tensor], given: Sequence[Tensor]) -> bool:
    pairs = list(zip(wanted, given, strict=False))
    return len(wanted) == len(given) and all(
        first.shape == second.shape and bool((first - second).abs().max() <= TOLERANCE * first.abs().max())
        for first, second in pairs
    )
