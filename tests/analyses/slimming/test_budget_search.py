"""Where the search ends: at the accuracy, the latency, or the multiply-adds that are asked for."""

import pytest

import microtome as mt
from microtome.analyses.slimming import Slimming
from microtome.analyses.slimming.bench import Bench
from microtome.analyses.slimming.budget_search import Limits, search_sets
from microtome.analyses.slimming.candidates import Slimmer
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.scan import Pace


@pytest.fixture(scope="module")
def bench() -> Bench:
    net = mt.open("microtome:mini_resnet")
    return Slimming(count=60, cuts=False).bench(net, mt.Images.scenes(60), Slimmer.of(net), Pace(device="cpu"))


def counts(bench: Bench) -> dict[str, float]:
    return {
        name: bench.specimen.multiply_adds - count_multiply_adds(
            bench.slimmer.network(bench.slimmer.several((name,))), bench.specimen.noise(1)
        )
        for name in bench.slimmer.removable
    }  # fmt: skip


def test_multiply_adds_end_the_search(bench: Bench) -> None:
    """Residual blocks are counted one by one, so a set saves the sum of what its blocks save."""
    saved, whole = counts(bench), bench.specimen.multiply_adds
    sets, facts = search_sets(bench, 1, "norms", Limits(1.0), saved, lambda *_: 1.0)
    assert facts["ended"] == "every removable block is gone" and len(facts["path"]) == 3
    left = [1 - sum(saved[name] for name in blocks) / whole for blocks in facts["path"]]
    target = (left[0] + left[1]) / 2
    ended, facts = search_sets(bench, 1, "norms", Limits(1.0, multiply_adds=target), saved, lambda *_: 1.0)
    assert len(facts["path"]) == 2 and facts["chosen_candidate"] == sets[0].name == ended[-1].name
    assert facts["ended"] == f"the multiply-adds are at most {target:.0%} of the full network's"


def test_latency_and_accuracy_end_it(bench: Bench) -> None:
    _, facts = search_sets(bench, 1, "norms", Limits(1.0, latency=0.8), counts(bench), lambda *_: 0.7)
    assert len(facts["path"]) == 1 and facts["ended"] == "the latency is at most 80% of the full network's"
    _, facts = search_sets(bench, 1, "linear", Limits(1.0), dict.fromkeys(bench.slimmer.plans, 0.0), lambda *_: 1.0)
    assert facts["search_repair"] == "linear" and len(facts["path"]) == len(bench.slimmer.replaceable) - 1
    assert facts["chosen_candidate"].endswith(", linear maps in their place")
