"""What takes the place of a removed block: nothing at all, a linear map, or a layer that adds no channels.

Source: removing a block and keeping its shortcut, Veit et al. 2016, arXiv:1605.06431; a linear map in place of a removed block is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Form = Literal["tensor", "list", "tuple", "wrapped", "arguments"]


class SkippedBlock(nn.Module):
    """Hands on what it was given, in the form in which the removed block gave its output.

    `form` is "tensor" (the first argument), "list" or "tuple" (a first argument of several maps), "wrapped" (a tuple of the first
    argument), or "arguments" (a tuple of the first `count` arguments).
    """

    def __init__(self, form: Form = "tensor", count: int = 1) -> None:
        super().__init__()
        self.form: Form = form
        self.count = count

    def forward(self, *given: Any, **named: Any) -> Any:
        """The block's input."""
        return to_form([*given, *named.values()], self.form, self.count)

    def extra_repr(self) -> str:
        return self.form


class LinearBlock(nn.Module):
    """A linear map in place of a block: for each of its maps a 1 x 1 convolution (or a linear layer over tokens) with bias.

    `shapes` holds (inputs, outputs) for each map. A map of another size is first averaged over windows to `grids` (rows, cols; None
    where the size stays). The map starts as the identity, as far as there are channels.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        channels_first: bool,
        grids: Sequence[tuple[int, int] | None],
        form: Form,
        count: int,
    ) -> None:
        super().__init__()
        self.form: Form = form
        self.count, self.channels_first, self.grids = count, channels_first, tuple(grids)
        self.maps = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) if channels_first else nn.Linear(inputs, outputs) for inputs, outputs in shapes
        )
        for layer in self.maps:
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.eye_(layer.weight.data.view(layer.weight.shape[:2]))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, *given: Any, **named: Any) -> Any:
        """The mapped input, in the form of the removed block's output."""
        values = [*given, *named.values()]
        several = self.form in ("list", "tuple")
        parts: list[Tensor] = list(values[0]) if several else [values[0]]
        made = [layer(self.resize(part, place)) for place, (layer, part) in enumerate(zip(self.maps, parts, strict=True))]
        return to_form([made if several else made[0], *values[1:]], self.form, self.count)

    def resize(self, part: Tensor, place: int) -> Tensor:
        """The input of one of the maps, on the grid of its output."""
        grid = self.grids[place]
        return part if grid is None else nn.functional.adaptive_avg_pool2d(part, grid)


class NoNewChannels(nn.Module):
    """In place of a dense layer: a map of no channels, which adds nothing to what it is concatenated with."""

    def forward(self, x: Tensor | list[Tensor]) -> Tensor:
        """The first map (image, unit, row, col) without its channels."""
        return (x if isinstance(x, Tensor) else x[0])[:, :0]


def to_form(values: Sequence[Any], form: Form, count: int) -> Any:
    """The first of `values`, in the form of a block's output."""
    if form == "list":
        return list(values[0])
    if form == "tuple":
        return tuple(values[0])
    if form == "wrapped":
        return (values[0],)
    return tuple(values[:count]) if form == "arguments" else values[0]


def block_form(values: Sequence[Any], output: Any) -> tuple[Form, int] | None:
    """How a block's output is built from its arguments, None where that is none of the known forms."""
    if not values:
        return None
    if isinstance(output, Tensor):
        return ("tensor", 1) if isinstance(values[0], Tensor) else None
    if not isinstance(output, list | tuple) or not output:
        return None
    if isinstance(values[0], list | tuple):
        alike = len(values[0]) == len(output) and all(isinstance(part, Tensor) for part in (*values[0], *output))
        return (("list" if isinstance(output, list) else "tuple"), 1) if alike else None
    if not isinstance(values[0], Tensor) or not isinstance(output[0], Tensor) or isinstance(output, list):
        return None
    if len(output) == 1:
        return "wrapped", 1
    rest = zip(output[1:], values[1:], strict=False)
    same = len(values) >= len(output) and all(_same_value(first, other) for first, other in rest)
    return ("arguments", len(output)) if same else None


def _same_value(first: Any, other: Any) -> bool:
    if isinstance(first, Tensor) or isinstance(other, Tensor):
        return (
            isinstance(first, Tensor) and isinstance(other, Tensor) and first.shape == other.shape and torch.equal(first, other)
        )
    return type(first) is type(other) and bool(first == other)


@dataclass(frozen=True)
class AxisOrder:
    """Whether the first axis of what an attention module reads is the batch: what `nn.TransformerEncoder` asks its first layer for."""

    batch_first: bool


def keep_encoder_running(encoder: nn.Module, removed: nn.Module, stand_in: nn.Module) -> None:
    """Let an `nn.TransformerEncoder` run with a stand-in among its layers; other modules stay as they are.

    Its forward reads `self_attn` of its first layer, and more where it packs padded tokens, which is switched off.
    """
    attention = getattr(removed, "self_attn", None)
    if isinstance(encoder, nn.TransformerEncoder) and isinstance(attention, nn.Module):
        stand_in.self_attn = AxisOrder(bool(getattr(attention, "batch_first", False)))  # type: ignore[assignment]
        encoder.use_nested_tensor = False


__all__ = ["AxisOrder", "Form", "LinearBlock", "NoNewChannels", "SkippedBlock", "block_form", "keep_encoder_running", "to_form"]
