"""Inputs of every weight layer: which sources its input channels come from, and the scales of the norms in between."""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.numerics.graph.channels import ChannelRun, Channels
from microtome.specimen.layers import is_weight
from microtome.specimen.outputs import first_tensor, slow_attention
from microtome.specimen.specimen import Specimen
from microtome.specimen.tracing import example_input


class LayerInputs(NamedTuple):
    """One call of one weight layer: its module path, the source that its output is, the runs of its input channels.

    `gain` (channel,) float64 is the |γ| of the last norm between the sources and this layer, 1 where there is none: what scaled a
    channel before that norm, its statistics divide out.
    """

    name: str
    path: str
    source: int
    runs: tuple[ChannelRun, ...]
    gain: Tensor


class NetworkInputs(NamedTuple):
    """All calls of a forward pass in order; for every source the module that made it, and the sources it was made from."""

    calls: tuple[LayerInputs, ...]
    makers: dict[int, str]
    parents: tuple[frozenset[int], ...]


_KNOWN: WeakKeyDictionary[Specimen, NetworkInputs] = WeakKeyDictionary()


def network_inputs(specimen: Specimen) -> NetworkInputs:
    """The inputs of the weight layers of `specimen`, from one forward pass of noise; traced once for each specimen.

    Raises:
        SpecimenError: the network does not run at its recipe's size.
    """
    if specimen not in _KNOWN:
        _KNOWN[specimen] = _trace_inputs(specimen)
    return _KNOWN[specimen]


def _trace_inputs(specimen: Specimen) -> NetworkInputs:
    x = example_input(specimen.net, specimen.recipe)
    mode = Channels(x)
    calls: list[LayerInputs] = []
    makers: dict[int, str] = {0: "image"}
    running: list[str] = []
    entered: list[Any] = []
    counts: dict[str, int] = {}

    def label() -> None:
        """Attribute every new source to the module that is running now."""
        for number in range(len(makers), len(mode.parents)):
            makers[number] = running[-1] if running else ""

    def before(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            label()
            running.append(path)
            value = first_tensor(inputs) if inputs else first_tensor(named)
            entered.append(mode.of(value) if is_weight(module) and value is not None else None)

        return hook

    def after(path: str) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            label()
            running.pop()
            read = entered.pop()
            if read is None or not isinstance(output, Tensor):
                return
            number = mode.declare(output, frozenset(run.source for run in read.runs))
            place = counts[path] = counts.get(path, -1) + 1
            makers[number] = path if place == 0 else f"{path}#{place}"
            calls.append(LayerInputs(makers[number], path, number, read.runs, read.gain))

        return hook

    handles: list[Any] = []
    try:
        for path, module in specimen.net.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
                handles.append(module.register_forward_hook(after(path)))
        with torch.no_grad(), slow_attention(), mode:
            specimen.net(x)
    except RuntimeError as error:
        rows, cols = specimen.recipe.size
        raise SpecimenError(f"{specimen.name} does not run on an image of {rows} x {cols} px: {str(error)[:200]}") from error
    finally:
        for handle in handles:
            handle.remove()
    label()
    return NetworkInputs(tuple(calls), makers, tuple(mode.parents))
