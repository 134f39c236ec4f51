"""Layers that read some pixels more often: by the windows that cover each pixel, counted one by one."""

import pytest
from torch import nn

import microtome as mt
from microtome.instruments.strides import uneven_readers


def reads(kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """The rarest and commonest count of windows over the pixels 40 … 59 of an axis, window by window."""
    counts = [
        sum(start + tap * dilation == pixel for start in range(0, 100, stride) for tap in range(kernel))
        for pixel in range(40, 60)
    ]
    return min(counts), max(counts)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 4, 3, 2), (3, 2, 1)), (nn.Conv2d(3, 4, 4, 2), None), (nn.Conv2d(3, 4, 3), None),
        (nn.Conv2d(3, 4, 1, 2), (1, 2, 1)), (nn.MaxPool2d(3, 2), (3, 2, 1)), (nn.MaxPool2d(2), None),
        (nn.Conv2d(3, 4, 3, 2, dilation=2), (3, 2, 2)), (nn.AvgPool2d(5, 3), (5, 3, 1)),
    ],
)  # fmt: skip
def test_windows_counted_one_by_one(layer: nn.Module, expected: tuple[int, int, int] | None) -> None:
    units = 4 if isinstance(layer, nn.Conv2d) else 3
    net = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(units, 2)).eval()
    found = [one for one in uneven_readers(mt.open(net, recipe={"size": 33})) if one.name == "0"]
    if expected is None:
        assert found == []
        return
    assert found[0].reads == (reads(*expected),) * 2
    assert (found[0].kernel[0], found[0].stride[0], found[0].pool) == (*expected[:2], not isinstance(layer, nn.Conv2d))
