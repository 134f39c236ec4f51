"""The gates of a network: where one number per channel multiplies a map, and which layer's output to watch for it."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from microtome.errors import SpecimenError
from microtome.numerics.graph.gating import FactorMode, GateFactor, replay_factor
from microtome.specimen.outputs import slow_attention
from microtome.specimen.specimen import Specimen
from microtome.specimen.tracing import example_input


@dataclass(frozen=True)
class Gate:
    """`name` is the module in which the map is multiplied, `watch` the layer whose output the gate is computed from.

    `form` says by what: the module's class, or the functions after it. `order` is the place of `watch` in execution order.
    """

    name: str
    watch: str
    form: str
    units: int
    order: int
    factor: GateFactor

    def values(self, output: Tensor) -> Tensor:
        """The gate (image, unit) from what `watch` gave.

        Raises:
            SpecimenError: it gave another number of values than when the gate was found.
        """
        values = replay_factor(output, self.factor)
        if values is None:
            shape = tuple(output.shape)
            raise SpecimenError(
                f"{self.watch} gives {shape}, from which the {self.units} gates of {self.name} cannot be identified."
            )
        return values


_CACHE: WeakKeyDictionary[Specimen, tuple[tuple[Gate, ...], tuple[str, ...]]] = WeakKeyDictionary()


def find_gates(specimen: Specimen) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    """The gates in execution order, and where there are others that do not come from one layer's output by pointwise functions.

    From one forward pass of noise, followed once for each specimen. A map of one position cannot be told from what gates it, so gates
    are looked for on larger maps.

    Raises:
        SpecimenError: the network does not run at its recipe's size.
    """
    if specimen not in _CACHE:
        _CACHE[specimen] = _name_gates(specimen, _trace_factors(specimen))
    return _CACHE[specimen]


def _trace_factors(specimen: Specimen) -> list[GateFactor]:
    x = example_input(specimen.net, specimen.recipe)
    mode = FactorMode(x)
    running: list[str] = [""]
    counts: dict[str, int] = {}

    def before(path: str) -> Any:
        def hook(*_: object) -> None:
            running.append(path)
            mode.at = path

        return hook

    def after(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            running.pop()
            mode.at = running[-1]
            place = counts[path] = counts.get(path, -1) + 1
            if isinstance(output, Tensor):
                mode.label(output, f"{path}#{place}")

        return hook

    handles: list[Any] = []
    try:
        for path, module in specimen.net.named_modules():
            if path:
                handles.append(module.register_forward_pre_hook(before(path)))
                handles.append(module.register_forward_hook(after(path)))
        with torch.no_grad(), slow_attention(), mode:
            specimen.net(x)
    except RuntimeError as error:
        rows, cols = specimen.recipe.size
        raise SpecimenError(f"{specimen.name} does not run on a {rows} x {cols} image: {str(error)[:200]}") from error
    finally:
        for handle in handles:
            handle.remove()
    return mode.factors


def _name_gates(specimen: Specimen, factors: list[GateFactor]) -> tuple[tuple[Gate, ...], tuple[str, ...]]:
    known = {layer.name: layer for layer in specimen.layers}
    gate_by_name: dict[str, Gate] = {}
    others: list[str] = []
    for factor in factors:
        path, _, place = (factor.origin or "").rpartition("#")
        layer = known.get(path) or known.get(f"{path}#{place}")
        if layer is None:
            others.append(factor.at or "the network itself")
            continue
        if any(gate.watch == layer.name and gate.factor.steps == factor.steps for gate in gate_by_name.values()):
            continue  # the same gate on another map
        name = factor.at or layer.name
        many = sum((gate.factor.at or gate.watch) == name for gate in gate_by_name.values())
        name = f"{name}#{many}" if many else name
        steps = [step.function.overloadpacket.__name__ for step in factor.steps]
        form = " + ".join(steps) or type(specimen.net.get_submodule(path)).__name__
        gate_by_name[name] = Gate(name, layer.name, form, factor.channels, layer.order, factor)
    return tuple(sorted(gate_by_name.values(), key=lambda gate: gate.order)), tuple(dict.fromkeys(others))
