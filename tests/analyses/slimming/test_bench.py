"""Answers of candidates: as whole networks give them, whichever order they are asked in; probes by cross-validation."""

import numpy as np
import pytest
import torch

import microtome as mt
from microtome.analyses.slimming.bench import FULL, Bench
from microtome.analyses.slimming.candidates import Slimmer
from microtome.analyses.slimming.journal import Journal
from microtome.analyses.slimming.split import image_part, split_places
from microtome.instruments.prefix_runs import PrefixRuns


def make_bench(by_head: bool = True) -> Bench:
    net, images = mt.open("microtome:mini_resnet"), mt.Images.scenes(80)
    assert images.labels is not None
    parts = [
        image_part(net, images, places, images.labels, mt.Pace(device="cpu", batch=16))
        for places in split_places(images, 0.5, 80, 0)
    ]
    return Bench(net, Slimmer.of(net), parts[0], parts[1], by_head, 0, Journal(None), lambda: None)


def test_removals_are_whole_networks() -> None:
    bench = make_bench()
    candidates = [*bench.slimmer.singles()[::-1], bench.slimmer.several(("layer3.1", "layer4.2"))]
    rows = bench.removals(candidates)
    x = torch.cat(bench.reported.batches)
    for candidate in candidates:
        if not bench.slimmer.can_be_empty(candidate):
            assert list(rows[candidate.name]) == ["linear"]
            continue
        with torch.no_grad():
            predicted = bench.slimmer.network(candidate)(x).argmax(1).numpy()
        np.testing.assert_array_equal(rows[candidate.name]["none"], predicted == bench.reported.wanted)
    assert bench.notes == set()


def test_probes_of_cuts_and_of_the_end() -> None:
    bench = make_bench()
    answers, end = bench.cuts(bench.slimmer.cuts())
    assert len(answers) == 6
    assert end.mean() > 0.7
    assert answers["end at layer4.1"].mean() > answers["end at layer1.0"].mean()
    assert bench.journal.knows([FULL, "probe"])


def test_a_probe_in_place_of_the_head() -> None:
    bench = make_bench(by_head=False)
    full = bench.full()
    assert full.mean() == pytest.approx(bench.cuts([bench.slimmer.cuts()[0]])[1].mean())
    runs = PrefixRuns(bench.specimen, bench.specimen.net, bench.chosen.batches)
    assert bench.selection(bench.specimen.net, runs).mean() > 0.5
