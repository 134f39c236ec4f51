"""The network that a search came to, with weights of its own: its blocks removed, repaired, and judged as it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from microtome.analyses.slimming.bench import Answers, Repair
from microtome.analyses.slimming.candidates import Slimmer
from microtome.analyses.slimming.repairs import estimate_norms, fine_tune, fit_linear
from microtome.analyses.slimming.slimming import Slimming
from microtome.images import Images
from microtome.instruments.prefix_runs import PrefixRuns
from microtome.scan import Pace
from microtome.specimen import Specimen
from microtome.specimen.calibration import has_statistics
from microtome.specimen.copying import copy_network


@dataclass(frozen=True)
class RepairedNetwork:
    """A network without blocks, and the answers (image,) of the full one and of it on the images reported on.

    `reported` are the places of these images; `by_head` says whether the networks' own heads answered, or probes.
    """

    net: nn.Module
    repair: Repair
    before: Answers
    after: Answers
    by_head: bool
    reported: np.ndarray[Any, Any]


def repair_set(
    slimming: Slimming, specimen: Specimen, images: Images, pace: Pace, blocks: tuple[str, ...], heal: int = 0
) -> RepairedNetwork:
    """The network without these blocks, repaired as the search did; `slimming` says which images are for what, and how it is repaired.

    With `heal`, a fine-tune of so many steps follows; it is kept where it has more of the images to choose by right.
    """
    slimmer = Slimmer.of(specimen)
    bench = slimming.bench(specimen, images, slimmer, pace)
    linear = slimming.repair == "linear"
    candidate = slimmer.several(blocks, linear)
    net = slimmer.network(candidate, own_weights=True)
    repair: Repair = "linear" if linear else "norms" if has_statistics(specimen.net) else "none"
    if repair != "none":
        units = bench.units(candidate)
        runs = PrefixRuns(specimen, specimen.net, bench.chosen.batches)
        runs.advance(units[0])
        if linear:
            fit_linear(net, specimen, runs, units)
        else:
            estimate_norms(net, runs, units[0])
    if heal:
        tuned = copy_network(net)
        fine_tune(tuned, specimen, bench.chosen.batches, heal)
        plain, better = (
            bench.selection(each, PrefixRuns(specimen, each, bench.search_images.batches)) for each in (net, tuned)
        )
        if better.sum() > plain.sum():
            net, repair = tuned, "fine-tune"
    after = bench.answers_of(net)
    return RepairedNetwork(net.eval(), repair, bench.full(), after, bench.by_head, slimming.places(images)[2])
