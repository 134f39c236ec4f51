"""The dilated convolutions of a specimen, each as it reads its map: side, taps, field of view, what lies before it."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from typing import Any, cast

from torch import nn

from microtome.errors import BadOption, SpecimenError
from microtome.instruments.receptive_fields import inner_extents, input_fields
from microtome.numerics.receptive.dilations import DilationMode, TapReading, border_rate, read_side, tap_positions
from microtome.numerics.receptive.field import Field
from microtome.specimen import Specimen
from microtome.specimen.tracing import Call

Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class DilatedConv:
    """One call of a dilated convolution; pairs are (rows, cols).

    `cells` are (first, end) of what is map in its input, padding put on before left out; `before` is the padding in positions on top and
    at the left, None where it is not known; `edges` is what that padding holds. `jump` and `behind` are px: the distance of the
    input's positions, and what one of them sees of the image (infinite where it sees all, NaN where that is not known).
    """

    call: Call
    name: str
    kernel: Pair
    rate: Pair
    stride: Pair
    before: Pair | None
    cells: tuple[Pair, Pair]
    edges: str
    jump: tuple[float, float]
    behind: tuple[float, float]

    @property
    def path(self) -> str:
        """The path of the module."""
        return self.call.path

    @property
    def side(self) -> Pair:
        """(rows, cols) of positions of the map it reads: M."""
        return self.cells[0][1] - self.cells[0][0], self.cells[1][1] - self.cells[1][0]

    @property
    def positions(self) -> Pair:
        """(rows, cols) of its output."""
        return self.call.outputs[0][2], self.call.outputs[0][3]

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which it is dilated: 0 rows, 1 columns."""
        return tuple(axis for axis in (0, 1) if self.kernel[axis] > 1 and self.rate[axis] > 1)

    @property
    def main(self) -> int:
        """The larger of its rates."""
        return max(self.rate[axis] for axis in self.axes)

    @cached_property
    def readings(self) -> tuple[TapReading, TapReading] | None:
        """How it reads rows and columns; None where its padding is not known."""
        if self.before is None:
            return None
        rows, cols = (
            read_side(*each)
            for each in zip(self.kernel, self.rate, self.stride, self.before, self.positions, self.cells, strict=True)
        )
        return rows, cols

    @property
    def valid(self) -> float:
        """The fraction of pairs of a position and a tap that lie on the map; NaN where that is not known."""
        return self._share("valid")

    @property
    def whole(self) -> float:
        """The fraction of positions that have all taps on the map; NaN where that is not known."""
        return self._share("whole")

    @property
    def alive(self) -> float:
        """The fraction of taps that lie on the map at one position at least; NaN where that is not known."""
        return self._share("alive")

    def _share(self, name: str) -> float:
        return nan if self.readings is None else getattr(self.readings[0], name) * getattr(self.readings[1], name)

    @property
    def dead(self) -> tuple[int, ...]:
        """The dilated axes along which no more than one tap ever reads the map: there the kernel is one position long."""
        return tuple(a for a in self.axes if self.readings and self.readings[a].alive * self.kernel[a] < 1.5)

    @property
    def ratio(self) -> float:
        """The rate over the side of the map, r/M; of both axes the larger."""
        return max(self.rate[axis] / self.side[axis] for axis in self.axes)

    @property
    def reach(self) -> float:
        """How far the outermost tap lies from the middle of the kernel, over the side of the map; r/M for three taps."""
        return max(self.rate[axis] * (self.kernel[axis] - 1) / 2 / self.side[axis] for axis in self.axes)

    @property
    def view(self) -> Pair:
        """(rows, cols) of positions from its first tap to its last: its own field of view."""
        return (self.kernel[0] - 1) * self.rate[0] + 1, (self.kernel[1] - 1) * self.rate[1] + 1

    @property
    def field_of_view(self) -> tuple[float, float]:
        """(rows, cols) of px that one position of its output can depend on: its field of view behind what stands before it."""
        rows, cols = ((view - 1) * jump + behind for view, jump, behind in zip(self.view, self.jump, self.behind, strict=True))
        return rows, cols

    @property
    def most(self) -> int:
        """The largest main rate with which its outermost taps, seen from the middle, lie on the map along every dilated axis."""
        return max(1, min(border_rate(self.side[a], self.kernel[a]) * self.main // self.rate[a] for a in self.axes))

    def scaled_rates(self, main: int) -> Pair:
        """Its rates (rows, cols) when the larger becomes `main`: in proportion, 1 at least; what is not dilated stays so."""
        rows, cols = (max(1, round(r * main / self.main)) if a in self.axes else r for a, r in enumerate(self.rate))
        return rows, cols

    def places(self, position: Pair) -> tuple[Any, Any]:
        """The rows and columns of the map, counted from 0, that the taps read for one position of the output."""
        before = self.before or (0, 0)
        rows, cols = (
            tap_positions(self.kernel[a], self.rate[a], self.stride[a], before[a], [position[a]])[0] - self.cells[a][0]
            for a in (0, 1)
        )
        return rows, cols


def with_image_size(specimen: Specimen, size: int, asker: str) -> Specimen:
    """The specimen as it is for images of `size` x `size` px, itself where `size` is 0.

    Raises:
        BadOption: it does not run on such images; `asker` is the analysis or edit whose option that was.
    """
    if not size or specimen.recipe.size == (size, size):
        return specimen
    other = replace(specimen, recipe=replace(specimen.recipe, size=(size, size)))
    try:
        _ = other.anatomy
    except SpecimenError as error:
        rows, cols = specimen.recipe.size
        raise BadOption(
            f"{asker}: {specimen.name} does not run on {size} x {size} px; size 0 takes its own, {rows} x {cols}."
        ) from error
    return other


def dilated_convolutions(specimen: Specimen, counted: DilationMode | None = None) -> list[DilatedConv]:
    """Every call of a dilated two-dimensional convolution, in execution order, as it reads its map for images of the recipe's size.

    `counted` counts in the one forward pass how many dilated convolutions run: more, where some are no modules of that kind.
    """
    calls = [call for call in specimen.anatomy.trace.calls if is_dilated(call)]
    if not calls:
        return []
    names = {(layer.path, layer.call or 0): layer.name for layer in reversed(specimen.layers)}
    asked = [names[call.path, call.index] for call in calls]
    with counted or nullcontext():
        fields = input_fields(specimen, asked)
    convs = [_read_call(call, name, fields.get(name)) for name, call in zip(asked, calls, strict=True)]
    # what does not pad by itself may get a map that a module before it has padded
    bare = [conv.name for conv in convs if conv.before and any(conv.before[axis] == 0 for axis in conv.axes)]
    maps = inner_extents(specimen, bare) if bare else {}
    return [replace(conv, cells=maps[conv.name]) if conv.name in maps else conv for conv in convs]


def is_dilated(call: Call) -> bool:
    """Whether it is the call of a two-dimensional convolution that is dilated along an axis on which it has several taps."""
    conv = call.module
    if not isinstance(conv, nn.Conv2d) or not call.inputs or len(call.inputs[0]) != 4 or not call.outputs:
        return False
    return any(k > 1 and r > 1 for k, r in zip(conv.kernel_size, conv.dilation, strict=True)) and min(call.outputs[0][2:]) > 0


def _read_call(call: Call, name: str, field: Field | None) -> DilatedConv:
    conv = cast(nn.Conv2d, call.module)
    kernel, rate, stride = (cast(Pair, tuple(pair)) for pair in (conv.kernel_size, conv.dilation, conv.stride))
    sides, positions = call.inputs[0][2:], call.outputs[0][2:]
    before = [_padding_before(conv, axis, sides[axis], positions[axis]) for axis in (0, 1)]
    return DilatedConv(
        call, name, kernel, rate, stride, None if None in before else cast(Pair, tuple(before)), ((0, sides[0]), (0, sides[1])),
        conv.padding_mode, (nan, nan) if field is None else field.jump, field.size if field and field.exact else (nan, nan),
    )  # fmt: skip


def _padding_before(conv: nn.Conv2d, axis: int, side: int, positions: int) -> int | None:
    """The padding before one side: as the module says where that gives its output, else split as TensorFlow's "same"; or None."""
    kernel, rate, stride = conv.kernel_size[axis], conv.dilation[axis], conv.stride[axis]
    span = (kernel - 1) * rate
    if conv.padding == "same":
        return span // 2
    padding = 0 if conv.padding == "valid" else int(conv.padding[axis])
    if (side + 2 * padding - span - 1) // stride + 1 == positions:
        return padding
    total = (positions - 1) * stride + span + 1 - side  # padding by the input's size, inside the module
    return total // 2 if total >= 0 and positions == -(-side // stride) else None
