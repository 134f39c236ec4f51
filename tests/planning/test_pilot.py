"""The pilot against a network whose cost is known: its pass waits."""

import time

import pytest
import torch
from torch import nn

import microtome as mt
from microtome.planning.pilot import reference_pilot, take_pilot


class Slow(nn.Module):
    """Takes 20 ms for every image, whatever else the machine does; 4 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02 * len(x))
        return self.head(x.mean((1, 2, 3), keepdim=True).flatten(1))


def test_seconds_per_image_and_bytes_of_the_weights() -> None:
    pilot = take_pilot(mt.open(Slow().eval(), recipe={"size": 16}).on("cpu"))
    assert pilot.forward == pytest.approx(0.02, rel=1.0)
    assert pilot.forward >= 0.02
    assert pilot.backward >= pilot.forward
    assert pilot.weights == 4 * 4
    assert pilot.image >= 4  # at least the mean
    assert pilot.graph >= 3 * 16 * 16 * 4  # the gradient of the pixels


def test_the_reference_pilot_is_arithmetic_and_the_same_every_time() -> None:
    net = nn.Sequential(nn.Conv2d(3, 10, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 2))
    specimen = mt.open(net.eval(), recipe={"size": 16}).on("cpu")
    forward = (16 * 16 * 10 * 3 * 9 + 10 * 2) / 4.5e10  # multiply-adds by hand, at the rate of the reference machine
    pilot = reference_pilot(specimen)
    assert pilot.forward == pytest.approx(forward)
    assert pilot.backward == pytest.approx(2.2 * forward)
    assert pilot.twin == pytest.approx((270 + 20 + 2) / 6e7)  # no statistics to estimate
    assert pilot == reference_pilot(specimen)
