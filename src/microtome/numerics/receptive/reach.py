"""What the elements of a tensor see, kept as four numbers that only grow, and how an operation's operands are joined.

A field is minus the first row, the last row, minus the first column, the last column, for each element; all grow when fields
are joined, so that every rule is a maximum over the elements that an operation reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from microtome.numerics.receptive.geometry import Axis, Where
from microtome.numerics.receptive.positions import argument
from microtome.numerics.receptive.sliding import NOT_SEEN
from microtome.numerics.receptive.views import view_region

WHOLE_IMAGE = float(2**22)  # the end of a field that is the whole image by construction; far beyond any real pixel
MASKED_LOGIT = -50.0  # logits at or below this are never attended to (Swin masks with -100, others with minus infinity)
NEVER_SEEN = float("-inf")  # the ends of a masked element: not even its partner in a product is seen


@dataclass(frozen=True)
class Reach:
    """What each element of a tensor sees. `parts` have the tensor's axes, each of its length or of length 1 (all alike).

    `small`: (rows, cols) px along the shortest path. `single`: one value for the whole image (and unit), as gates are made of.
    """

    parts: tuple[Tensor, ...]
    small: tuple[float, float] = (1.0, 1.0)
    gated: bool = False
    single: bool = False
    unfollowed: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every operation on the way was followed."""
        return not self.unfollowed


@dataclass(frozen=True)
class OpContext:
    """One operation that ran: its operands with what they see, its results, and the image's size."""

    func: Any
    name: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    before: Sequence[tuple[Tensor, Reach, Where | None]]
    made: Sequence[Tensor]
    size: tuple[int, int]

    def shade(self, tensor: Any) -> Reach | None:
        """What an operand sees, None for a constant."""
        return next((shade for operand, shade, _ in self.before if operand is tensor), None)

    def where(self, tensor: Any) -> Where:
        """Where the positions of an operand lie; one position where that is not known."""
        position = next((where for operand, _, where in self.before if operand is tensor), None)
        return position or Where(Axis(0.0, float(self.size[0]), 1), Axis(0.0, float(self.size[1]), 1))

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or name."""
        return argument(self.args, self.kwargs, place, name, default)


Rule = Callable[[OpContext], list[Reach]]


def join_parts(context: OpContext, parts: Sequence[Tensor], small: tuple[float, float] | None = None) -> Reach:
    """A shade with those parts and what all operands have in common: the shortest path, gates and unfollowed operations."""
    shades = [shade for _, shade, _ in context.before]
    paths = [shade.small for shade in shades]
    shortest = small or (min(path[0] for path in paths), min(path[1] for path in paths))
    missed = tuple(dict.fromkeys(name for shade in shades for name in shade.unfollowed))
    single = all(shade.single for shade in shades)
    return Reach(tuple(parts), shortest, any(shade.gated for shade in shades), single, missed)


def elementwise(context: OpContext) -> list[Reach]:
    """Each element sees what the elements at its place in all operands see."""
    first = context.made[0]
    shades = [shade for _, shade, _ in context.before]
    if any(not _is_broadcastable(tensor.shape, first.shape) for tensor, _, _ in context.before):
        return unknown_reach(context)
    if context.name.rstrip("_") in ("mul", "div") and len({shade.single for shade in shades}) == 2:
        kept = next(shade for shade in shades if not shade.single)  # a gate: what it sees is not counted, but told
        return [replace(kept, parts=align(kept.parts, first), gated=True)] * len(context.made)
    parts = [elementwise_max([align(shade.parts, first)[place] for shade in shades]) for place in range(4)]
    blocked = _blocked_elements(context, first)
    if blocked is not None:
        parts = [torch.where(blocked, NEVER_SEEN, part) for part in parts]
    return [join_parts(context, parts)] * len(context.made)


def unknown_reach(context: OpContext) -> list[Reach]:
    """What an operation that is not followed can see at most: everything that any element of any operand sees."""
    parts = [elementwise_max([shade.parts[place].amax() for _, shade, _ in context.before]) for place in range(4)]
    shade = join_parts(context, parts)
    name = f"{context.name}"
    return [
        replace(shade, parts=tuple(part.reshape([1] * tensor.dim()) for part in parts), unfollowed=(*shade.unfollowed, name))
        for tensor in context.made
    ]


def write_view(known: Reach | None, base: Tensor, part: Tensor, shade: Reach) -> Reach:
    """What the elements of `base` see after those of its `part`, a view, have been set to what sees `shade`; `known` before that."""
    shades = [shade] if known is None else [known, shade]
    small = min(shade.small[0] for shade in shades), min(shade.small[1] for shade in shades)
    missed = tuple(dict.fromkeys(name for shade in shades for name in shade.unfollowed))
    gated, single = any(shade.gated for shade in shades), all(shade.single for shade in shades)
    spot = view_region(part, base)
    if spot is None:  # every element may be one of those
        parts = [
            elementwise_max([shade.parts[place].amax() for shade in shades]).reshape([1] * base.dim()) for place in range(4)
        ]
        return Reach(tuple(parts), small, gated, single, (*missed, "writing into a part"))
    index = tuple(
        slice(first, first + (length - 1) * step + 1, step)
        for first, step, length in zip(spot.first, spot.step, part.shape, strict=True)
    )
    parts: list[Tensor] = []
    for place in range(4):
        whole = torch.full([1] * base.dim(), NOT_SEEN) if known is None else known.parts[place]
        whole = whole.expand(base.shape).clone()
        whole[index] = shade.parts[place]
        parts.append(whole)
    return Reach(tuple(parts), small, gated, single, missed)


def _is_broadcastable(shape: Sequence[int], target: Sequence[int]) -> bool:
    pairs = list(zip(reversed(shape), reversed(target), strict=False))
    return len(shape) <= len(target) and all(side in (1, other) for side, other in pairs)


def align(parts: Sequence[Tensor], like: Tensor) -> tuple[Tensor, ...]:
    """`parts` with as many axes as `like`, new ones in front."""
    return tuple(part.reshape([1] * (like.dim() - part.dim()) + list(part.shape)) for part in parts)


def elementwise_max(parts: Sequence[Tensor]) -> Tensor:
    """The largest of several parts, element by element."""
    largest = parts[0]
    for part in parts[1:]:
        largest = largest if part is largest else torch.maximum(largest, part)
    return largest


def _blocked_elements(context: OpContext, made: Tensor) -> Tensor | None:
    """Where an attention mask, added or filled in, keeps elements from ever being read."""
    name = context.name.rstrip("_")
    if name == "masked_fill" and not isinstance(context.args[2], Tensor) and float(context.args[2]) <= MASKED_LOGIT:
        return None if context.args[1].device.type == "meta" else context.args[1].cpu()
    if name != "add" or made.dim() < 3:
        return None
    for arg in context.args[:2]:
        if isinstance(arg, Tensor) and context.shade(arg) is None and arg.is_floating_point() and arg.device.type != "meta":
            low = arg.detach() <= MASKED_LOGIT
            return low.cpu() if arg.dim() >= 2 and bool(low.any()) else None
    return None
