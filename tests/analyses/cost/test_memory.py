"""The memory peak: running sums by hand, and a plain network whose allocations can be written down."""

import torch
from torch import nn

import microtome as mt
from microtome.analyses.cost.cost import Cost
from microtome.analyses.cost.memory import PROFILED, allocation_peak, peak_of_changes
from microtome.specimen.live_memory import peak_live_bytes


def test_the_largest_running_sum() -> None:
    assert peak_of_changes([(3, -5), (1, 4), (2, 7), (4, 3)]) == 11
    assert peak_of_changes([]) == 0 and peak_of_changes([(1, -4)]) == 0


class Sums(nn.Module):
    """x + 1 is held while it is doubled, and freed before the second doubling: two maps at once."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.weight
        y = y * 2
        y = y * 2
        return y.mean((2, 3))


def test_the_peak_of_a_plain_network_by_hand() -> None:
    specimen = mt.open(Sums().eval(), recipe={"size": 64})
    x = specimen.noise(1)
    specimen.run(x)
    taken, recorder = allocation_peak(specimen, x)
    one = 3 * 64 * 64 * 4
    assert recorder == PROFILED and 2 * one <= taken < 2 * one + 4096
    finding = Cost(repeats=3, batch=1)(specimen)
    assert abs(finding.key("memory peak").value - (3 * 4 + one + 2 * one) / 1e6) < 4096 / 1e6
    assert any("exact to the byte for what torch hands out" in line for line in finding.caveats)


def test_scratch_space_makes_it_no_less_than_the_live_tensors(net: mt.Specimen) -> None:
    x = net.noise(1)
    net.run(x)
    assert allocation_peak(net, x)[0] >= 0.99 * peak_live_bytes(lambda: net.run(x))
