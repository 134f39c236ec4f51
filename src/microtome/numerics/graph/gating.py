"""Finding gates: factors of one number per channel that multiply a map, and how to compute them from a layer's output.

Nothing is attached to the network: the multiplication itself is seen as it runs, so a gate is found by what it does and not by
what its module is called, and a sigmoid that is a function in a forward method counts as well as one that is a module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from microtome.numerics.graph.dispatching import Dispatching, tensors_in

RESHAPES = frozenset(
    ("_reshape_alias", "_to_copy", "_unsafe_view", "alias", "as_strided_", "clone", "contiguous", "detach", "expand", "reshape",
     "squeeze", "transpose", "unsqueeze", "view")
)  # fmt: skip


class GateStep(NamedTuple):
    """A pointwise operation with everything but its first tensor."""

    function: Any
    rest: tuple[Any, ...]
    named: Mapping[str, Any]


@dataclass(frozen=True)
class GateFactor:
    """One multiplication of a map by one number per channel.

    `at` is where it was seen, `origin` the labelled tensor that the factor comes from by `steps` (None where it comes from several,
    or from none), `channels` how many numbers it has for one image, `order` its place among the factors.
    """

    at: str
    origin: str | None
    steps: tuple[GateStep, ...]
    channels: int
    order: int


class _FactorTrail(NamedTuple):
    origin: str | None
    steps: tuple[GateStep, ...]


class FactorMode(Dispatching):
    """While this is entered, `factors` collects every factor that multiplies maps computed from `picture` (image, rgb, row, col).

    `label(tensor, name)` names tensors that can be looked at later; `at` is written down with what is found.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.at = ""
        self.factors: list[GateFactor] = []
        self._count = len(picture)
        self._known = cast("dict[Tensor, _FactorTrail]", WeakTensorKeyDictionary())
        self._known[picture] = _FactorTrail(None, ())

    def label(self, tensor: Tensor, name: str) -> None:
        """From now on `tensor` is what `name` gives, unless it already is what a module within it gave, unchanged since."""
        trail = self._known.get(tensor)
        if trail is not None and not (trail.origin is not None and not trail.steps):
            self._known[tensor] = _FactorTrail(name, ())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name == "mul" and isinstance(args[0], Tensor) and isinstance(args[1], Tensor):
            self._multiply(args[0], args[1])
            self._multiply(args[1], args[0])
        given = [tensor for tensor in tensors_in((args, kwargs or {})) if tensor in self._known]
        trail = self._known[given[0]] if len(given) == 1 else _FactorTrail(None, ())
        value = func(*args, **(kwargs or {}))
        if given:
            followed = self._follow(func, name, args, kwargs or {}, trail, given)
            for made in tensors_in(value):
                self._known[made] = followed
        return value

    def _follow(
        self, func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], trail: _FactorTrail, given: Sequence[Tensor]
    ) -> _FactorTrail:
        if trail.origin is None or len(given) != 1:
            return _FactorTrail(None, ())
        if name in RESHAPES or func.overloadpacket.__name__ in RESHAPES:
            return trail
        if torch.Tag.pointwise in func.tags and args and args[0] is given[0]:
            rest = tuple(arg.detach().clone() if isinstance(arg, Tensor) else arg for arg in args[1:])
            return _FactorTrail(trail.origin, (*trail.steps, GateStep(_out_of_place(func), rest, dict(kwargs))))
        return _FactorTrail(None, ())

    def _multiply(self, thing: Tensor, factor: Tensor) -> None:
        """Note `factor` if it is one number per channel for a map of more than one position."""
        trail = self._known.get(factor)
        if trail is None or thing not in self._known or thing.dim() != 4 or factor.dim() != 4 or len(factor) != self._count:
            return
        flat = all(side == 1 or stride == 0 for side, stride in zip(factor.shape[2:], factor.stride()[2:], strict=True))
        if flat and factor.shape[:2] == thing.shape[:2] and thing.shape[2] * thing.shape[3] > 1 and not _is_flat(thing):
            self.factors.append(GateFactor(self.at, trail.origin, trail.steps, factor.shape[1], len(self.factors)))


def _is_flat(thing: Tensor) -> bool:
    return all(side == 1 or stride == 0 for side, stride in zip(thing.shape[2:], thing.stride()[2:], strict=True))


def _out_of_place(func: Any) -> Any:
    """The operation that gives a new tensor, for one that overwrites its own."""
    name = func.overloadpacket.__name__
    if not name.endswith("_") or name.endswith("__"):
        return func
    return getattr(getattr(torch.ops.aten, name.rstrip("_")), func._overloadname)


def replay_factor(value: Float[Tensor, "image *channel"], factor: GateFactor) -> Float[Tensor, "image channel"] | None:
    """The factor (image, channel) from what its origin gave; None where that does not have the factor's channels."""
    flat = value.flatten(1)
    if flat.shape[1] != factor.channels:
        return None
    for step in factor.steps:
        rest = [value.flatten() if isinstance(value, Tensor) and value.numel() > 1 else value for value in step.rest]
        flat = step.function(flat, *rest, **step.named)
    return flat
