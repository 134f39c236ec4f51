"""The search: each step against an exhaustive slow twin, ties to what saves more."""

import numpy as np
import torch

import microtome as mt
from microtome.analyses.slimming.bench import Bench
from microtome.analyses.slimming.candidates import Slimmer
from microtome.analyses.slimming.journal import Journal
from microtome.analyses.slimming.repairs import fit_linear
from microtome.analyses.slimming.search import Search, SetScore
from microtome.analyses.slimming.split import image_part, split_places
from microtome.instruments.prefix_runs import PrefixRuns

SAVED = {"layer3.1": 1.0, "layer4.1": 2.0, "layer4.2": 3.0}


def make_small_bench() -> Bench:
    net, images = mt.open("microtome:mini_resnet"), mt.Images.scenes(60)
    assert images.labels is not None
    pace = mt.Pace(device="cpu", batch=16)
    parts = [image_part(net, images, places, images.labels, pace) for places in split_places(images, 0.6, 60, 0)]
    return Bench(net, Slimmer.of(net), parts[0], parts[1], True, 0, Journal(None), lambda: None)


def score(bench: Bench, blocks: tuple[str, ...]) -> int:
    """The slow twin: the whole network on the images to choose by."""
    with torch.no_grad():
        net = bench.slimmer.network(bench.slimmer.several(blocks)) if blocks else bench.specimen.net
        return int((net(torch.cat(bench.chosen.batches)).argmax(1).numpy() == bench.chosen.wanted).sum())


def test_every_step_is_the_best_of_all() -> None:
    bench = make_small_bench()
    search = Search(bench, 9, "none")
    assert search.full() == score(bench, ())
    sets = [SetScore((), search.full())]
    for size in (1, 2, 3):
        sets = search.step(sets, SAVED)
        assert all(len(each.blocks) == size for each in sets)
        assert [each.right for each in sets] == [score(bench, each.blocks) for each in sets]
        assert sets == sorted(sets, key=lambda each: (-each.right, -sum(SAVED[name] for name in each.blocks)))
    assert len(sets) == 1
    greedy = Search(bench, 1, "none").step([SetScore((), 0)], SAVED)
    assert len(greedy) == 1


def test_with_norms_estimated_again() -> None:
    bench = make_small_bench()
    sets = Search(bench, 1, "norms").step([SetScore((), 0)], SAVED)
    sets = Search(bench, 3, "norms").step(sets, SAVED)
    assert all(np.isfinite(each.right) for each in sets)
    assert max(each.right for each in sets) >= score(bench, sets[0].blocks) - 2


def test_with_linear_maps_in_the_places_of_blocks() -> None:
    """Each of a step's sets has as many right as the network whose maps are all fitted from the first on, whole passes."""
    bench = make_small_bench()
    search = Search(bench, 9, "linear")
    sets = search.step([SetScore((), search.full())], dict.fromkeys(bench.slimmer.plans, 0.0))[:2]
    larger = search.step(sets[:1], dict.fromkeys(bench.slimmer.plans, 0.0))
    assert {len(each.blocks) for each in larger} == {2}
    for each in (*sets, larger[0], larger[-1]):
        candidate = bench.slimmer.several(each.blocks, linear=True)
        net = bench.slimmer.network(candidate)
        fit_linear(
            net, bench.specimen, PrefixRuns(bench.specimen, bench.specimen.net, bench.chosen.batches), bench.units(candidate)
        )
        with torch.no_grad():
            assert int((net(torch.cat(bench.chosen.batches)).argmax(1).numpy() == bench.chosen.wanted).sum()) == each.right
