"""Layouts of generated networks, held against pixels that are changed one at a time.

The oracle knows no module: one pixel of the input is changed at two far rows and at two far columns. The axis of an output along
which the changed elements move with the row holds rows, the other one columns, the third units.
"""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import microtome as mt
from microtome.specimen import watch

PLAIN = {"mean": 0.5, "std": 0.25, "crop": 1.0}


class Called(nn.Module):
    """A function in a module of its own."""

    def __init__(self, work: str) -> None:
        super().__init__()
        self.work = work

    def forward(self, x: Tensor) -> Tensor:
        if self.work == "pool":
            return F.avg_pool2d(x, (1, 2))
        if self.work == "upsample":
            return F.interpolate(x, scale_factor=(2, 1))
        return torch.cat([x, 2 * x], 1)


class Summed(nn.Module):
    """A residual block whose last activation works in place or is a function."""

    def __init__(self, units: int, module: bool) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(units, units, 3, padding=1), nn.BatchNorm2d(units)
        self.act = nn.ReLU(inplace=True) if module else None

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm(self.conv(x))
        return F.relu(x) if self.act is None else self.act(x)


class UnitsLast(nn.Module):
    """The inside of a ConvNeXt block: linear maps over units that lie last."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.wide, self.act, self.narrow = nn.Linear(units, 2 * units), nn.GELU(), nn.Linear(2 * units, units)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(self.act(self.wide(x.permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class Net(nn.Module):
    def __init__(self, plan: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.body = nn.Sequential()
        units = 3
        for kind, rows, cols in plan:
            new = {
                "conv": lambda units=units, rows=rows, cols=cols: nn.Conv2d(units, 5, (3, 5), (rows, cols), (1, 2)),
                "act": lambda rows=rows: nn.ReLU(inplace=rows == 2),
                "max": lambda rows=rows, cols=cols: nn.MaxPool2d((2, 3), (rows, cols), (0, 1)),
                "called pool": lambda: Called("pool"),
                "upsample": lambda: Called("upsample"),
                "cat": lambda: Called("cat"),
                "sum": lambda units=units, rows=rows: Summed(units, rows == 2),
                "last": lambda units=units: UnitsLast(units),
            }[kind]()
            self.body.append(new)
            units = 5 if kind == "conv" else 2 * units if kind == "cat" else units
        self.head = nn.Linear(units, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


KINDS = ["conv", "conv", "act", "max", "called pool", "upsample", "cat", "sum", "last"]
PLANS = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from([1, 2]), st.sampled_from([1, 2])), min_size=1, max_size=5)


def values(net: mt.Specimen, x: Tensor) -> dict[str, Tensor]:
    """The first image's value of every layer with three axes."""
    names = [layer.name for layer in net.layers if len(layer.shape) == 3]
    with watch(net, names) as seen, torch.no_grad():
        net.net(x)
    return {name: value[0] for name, value in seen.items()}


def axes(net: mt.Specimen, size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Layer -> (axis of rows, axis of columns), by which elements change with one pixel."""
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) + 1
    plain = values(net, x)

    def changed(row: int, col: int) -> dict[str, list[set[int]]]:
        other = x.clone()
        other[:, :, row, col] += 50
        hits = {name: (value - plain[name]).abs() > 1e-4 for name, value in values(net, other).items()}
        return {name: [set(hit.nonzero()[:, axis].tolist()) for axis in range(3)] for name, hit in hits.items()}

    spots = [changed(*spot) for spot in ((1, 1), (size[0] - 2, 1), (1, size[1] - 2))]
    found: dict[str, tuple[int, int]] = {}
    for name in plain:
        first, lower, right = (spot[name] for spot in spots)
        moved = [[axis for axis in range(3) if not first[axis] & there[axis]] for there in (lower, right)]
        if [len(one) for one in moved] == [1, 1]:  # otherwise the map is too small to tell
            found[name] = moved[0][0], moved[1][0]
    return found


def positive(net: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_().add_(0.01)
    return net.eval()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(PLANS, st.sampled_from([(40, 40), (48, 32), (24, 64)]))
def test_axes_are_told_as_pixels_show_them(plan: list[tuple[str, int, int]], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = mt.open(positive(Net(plan)), recipe={"size": size, **PLAIN})
    told = {"nchw": (1, 2), "nhwc": (0, 1)}
    seen = axes(net, size)
    assert seen
    for name, where in seen.items():
        layer = net.layer(name)
        assert told.get(layer.layout) == where, (name, layer.layout, layer.shape)
        assert layer.grid == tuple(layer.shape[axis] for axis in where)
        assert layer.units == layer.shape[3 - sum(where)]


def test_behind_a_stride_of_two_and_one() -> None:
    """The reported case: 60 x 44 px become 29 x 44 positions, which are no proportion of the input."""
    parts = [nn.Conv2d(3, 16, (5, 3), (2, 1), 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), Called("cat"), Summed(32, True)]
    net = mt.open(
        nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)), recipe={"size": (60, 44), **PLAIN}
    )
    assert [(net.layer(str(place)).layout, net.layer(str(place)).grid) for place in range(5)] == [
        ("nchw", (29, 44)), ("nchw", (29, 44)), ("nchw", (14, 21)), ("nchw", (14, 21)), ("nchw", (14, 21)),
    ]  # fmt: skip


@pytest.mark.parametrize("functional", [True, False])
def test_every_convolution_is_among_convs(functional: bool) -> None:
    """A convolution that is its own removable block is a convolution still; a plain network with F.relu has nothing else."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c1, self.c2, self.c3 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 4, 1)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            for conv in (self.c1, self.c2):
                x = F.relu(conv(x)) if functional else self.act(conv(x))
            return self.c3(x).mean((2, 3))

    net = mt.open(Plain(), recipe={"size": 32, **PLAIN})
    assert net.find("convs") == ["c1", "c2", "c3"]
    assert [net.layer(name).kind for name in net.find("blocks")] == (
        ["block"] * len(net.find("blocks")) if functional else ["act"] * 2
    )
