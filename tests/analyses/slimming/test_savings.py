"""What candidates save, counted; the full network is its own measure."""

import microtome as mt
from microtome.analyses.slimming.candidates import Slimmer
from microtome.analyses.slimming.savings import measure_savings


def test_counts_and_ratios() -> None:
    net = mt.open("microtome:mini_resnet")
    slimmer = Slimmer.of(net)
    passed: list[int] = []
    full, smaller = measure_savings(net, [slimmer.network(slimmer.several(("layer4.1",)))], 1, 6, lambda: passed.append(1))
    assert (full.parameters, full.operations) == (sum(p.numel() for p in net.net.parameters()), net.multiply_adds)
    assert full.latency == (1, 1, 1)
    assert smaller.parameters == full.parameters - sum(p.numel() for p in net.net.get_submodule("layer4.1").parameters())
    assert smaller.operations < full.operations
    assert smaller.latency.low <= smaller.latency.value <= smaller.latency.high
    assert len(passed) == 2
