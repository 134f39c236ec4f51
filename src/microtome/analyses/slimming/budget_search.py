"""The search for several blocks under a budget: how far it goes, and what is said of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from microtome.analyses.slimming.bench import Bench
from microtome.analyses.slimming.candidates import SmallerNetwork
from microtome.analyses.slimming.search import Search, SetScore
from microtome.key_numbers import FRACTION, format_value
from microtome.numerics.graph.counts import count_multiply_adds
from microtome.specimen.calibration import has_statistics

NO_SEARCH = {"search": "none", "search_repair": "none", "chosen_set": [], "chosen_candidate": ""}


@dataclass(frozen=True)
class Limits:
    """Accuracy that may be lost, and the latency and multiply-adds that are aimed at; all are fractions of the full network's, 0: none."""

    max_drop: float
    latency: float = 0.0
    multiply_adds: float = 0.0


def search_sets(
    bench: Bench,
    width: int,
    repair: Literal["norms", "linear"],
    limits: Limits,
    saved: dict[str, float],
    latency: Callable[[Bench, SmallerNetwork], float],
) -> tuple[list[SmallerNetwork], dict[str, Any]]:
    """The best set of each size up to the end of the search that are candidates of their own, and how it ended.

    `saved` (block) are the multiply-adds that each removal saves. Sets of one block with nothing in its place are no new candidates.
    """
    slimmer, linear = bench.slimmer, repair == "linear"
    if not (slimmer.replaceable if linear else slimmer.removable):
        return [], dict(NO_SEARCH)
    done = "linear" if linear else "norms" if has_statistics(bench.specimen.net) else "none"
    search = Search(bench, width, done)
    whole = search.full()
    sets, best, why = [SetScore((), whole)], list[SmallerNetwork](), "every removable block is gone"
    while step := search.step(sets, saved):
        sets, lost = step, (whole - step[0].right) / len(bench.search_images)
        if lost > limits.max_drop:
            why = f"one more block loses {format_value(lost, FRACTION)} on the images to choose by"
            break
        best.append(slimmer.several(step[0].blocks, linear))
        if reached := _reached(bench, best[-1], limits, latency):
            why = reached
            break
    facts = {
        "search_repair": done,
        "ended": why,
        "chosen_set": list(best[-1].blocks) if best else [],
        "chosen_candidate": best[-1].name if best else "",
        "path": [list(each.blocks) for each in best],
    }
    return [each for each in best if linear or len(each.blocks) > 1], facts


def _reached(bench: Bench, candidate: SmallerNetwork, limits: Limits, latency: Callable[[Bench, SmallerNetwork], float]) -> str:
    """What the candidate has reached, empty where the search goes on."""
    if limits.latency and latency(bench, candidate) <= limits.latency:
        return f"the latency is at most {limits.latency:.0%} of the full network's"
    if limits.multiply_adds:
        specimen = bench.specimen
        count = count_multiply_adds(bench.slimmer.network(candidate), specimen.noise(1))
        if count <= limits.multiply_adds * specimen.multiply_adds:
            return f"the multiply-adds are at most {limits.multiply_adds:.0%} of the full network's"
    return ""
