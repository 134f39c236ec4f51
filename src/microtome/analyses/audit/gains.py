"""The group norms of a network that follow a layer, with what they do to the size of the gradient at every number of groups.

Measured in the network, on what its layers really get from noise, with its own weights. Ours: see `microtome.numerics.graph.gradient_gain`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from microtome.numerics.graph.gradient_gain import best_groups, gain_distance, gradient_gains, group_divisors
from microtome.numerics.graph.linearised import GATES, RECTIFIERS
from microtome.specimen import Specimen
from microtome.specimen.layers import is_weight
from microtome.specimen.noise_images import noise_images
from microtome.specimen.outputs import first_tensor, slow_attention

IMAGES = 2
ACTIVATIONS = RECTIFIERS | GATES | {"tanh", "tanh_"}


@dataclass(frozen=True)
class GainCurve:
    """One group norm: how many groups it has, and the gain for each number of groups that divides its units."""

    layer: str
    now: int
    gains: dict[int, float]

    @property
    def best(self) -> int:
        """The number of groups whose gain is nearest to 1."""
        return best_groups(list(self.gains), list(self.gains.values()))

    @property
    def gap(self) -> float:
        """By how much the best number of groups is nearer to a gain of 1 than the present one, as a log ratio; NaN where none is."""
        return gain_distance(self.gains[self.now]) - gain_distance(self.gains[self.best])


def regroup_edit(curves: Sequence[GainCurve]) -> str:
    """The edit that gives each of these norms its best number of groups, as for `microtome edit`."""
    groups = ",".join(str(curve.best) for curve in curves)
    return f"group_norm:at={','.join(curve.layer for curve in curves)},groups={groups},least=1"


@dataclass
class _Norm:
    """One group norm as it ran: what entered the layer before it, and what came after it."""

    path: str
    weigh: nn.Module
    entered: Tensor
    units: int
    cells: int
    given: Tensor
    activate: Callable[[Tensor], Tensor] | None = None


class _NormTracer(TorchFunctionMode):
    """Notes each group norm whose input is the very tensor that a layer gave, and the activation that takes its output."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: list[_Norm] = []
        self.last: tuple[nn.Module, Tensor, Tensor] | None = None  # the last layer, what went in, what came out
        self.running: list[str] = [""]

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given, name = kwargs or {}, str(getattr(func, "__name__", ""))
        x = first_tensor(args[0] if args else given.get("input"))
        if name in ACTIVATIONS and self.norms and x is self.norms[-1].given and self.norms[-1].activate is None:
            more = {key: value for key, value in given.items() if key not in ("input", "inplace")}
            self.norms[-1].activate = partial(_reapply_activation, func, args[1:], more)
        value = func(*args, **given)
        if name == "group_norm" and x is not None and self.last is not None and x is self.last[2]:
            weigh, entered, _ = self.last
            self.norms.append(_Norm(self.running[-1], weigh, entered, x.shape[1], prod(x.shape[2:]), value))
        return value


def gain_curves(specimen: Specimen) -> tuple[list[GainCurve], list[str]]:
    """The gain curve of every group norm that follows a layer, and the paths of those that do not (they read a sum, or a norm)."""
    norms = {path: part for path, part in specimen.net.named_modules() if isinstance(part, nn.GroupNorm)}
    if not norms:
        return [], []
    curves: dict[str, GainCurve] = {}
    for traced in _trace_norms(specimen):
        norm = norms.get(traced.path)
        if norm is None or traced.path in curves:
            continue
        groups = sorted({*group_divisors(traced.units, traced.cells), norm.num_groups})
        gains = gradient_gains(
            traced.entered,
            traced.weigh,
            traced.activate or _identity,
            groups,
            scale=_detach(norm.weight),
            shift=_detach(norm.bias),
            eps=norm.eps,
        )
        curves[traced.path] = GainCurve(traced.path, norm.num_groups, dict(zip(groups, gains, strict=True)))
    return list(curves.values()), [path for path in norms if path not in curves]


def _trace_norms(specimen: Specimen) -> list[_Norm]:
    """The norms of one run on noise, in order; hooks are gone afterwards."""
    mode = _NormTracer()
    entered: list[Tensor | None] = []

    def before(path: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            mode.running.append(path)
            entered.append(first_tensor(inputs[0] if inputs else None))

        return hook

    def after(module: nn.Module, _inputs: Any, output: Any) -> None:
        mode.running.pop()
        x, value = entered.pop(), first_tensor(output)
        if is_weight(module) and x is not None and value is not None:
            mode.last = (module, x.clone(), value)

    handles: list[Any] = []
    try:
        for path, module in specimen.net.named_modules():
            if path:
                handles += [module.register_forward_pre_hook(before(path)), module.register_forward_hook(after)]
        with torch.no_grad(), slow_attention(), mode:
            specimen.net(noise_images(specimen.net, specimen.recipe, IMAGES, seed=1))
    finally:
        for handle in handles:
            handle.remove()
    return mode.norms


def _reapply_activation(func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], x: Tensor) -> Tensor:
    """The activation once more, on another tensor: a copy, for some overwrite what they get."""
    return func(x.clone(), *args, **named)


def _identity(x: Tensor) -> Tensor:
    return x


def _detach(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()
