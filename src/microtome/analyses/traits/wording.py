"""Caveats of a study: what besides the family differs between the networks, and what the verdicts do not say."""

from collections.abc import Mapping

import numpy as np

from microtome.analyses.traits.material import StudiedNetwork, Study
from microtome.finding import Finding
from microtome.key_numbers import FRACTION, format_value
from microtome.prose import name_list
from microtome.specimen.families import FAMILIES

MAX_NAMES = 6
COST, ACCURACY = ("cost", "parameters"), ("accuracy", "top-1 accuracy")


def confounders(study: Study) -> list[str]:
    """What differs between the families besides their kind, one sentence each."""
    lines: list[str] = []
    for (analysis, number), unit, noun in ((COST, "1", "parameters"), (ACCURACY, FRACTION, "top-1 accuracy")):
        ranges = {family: _range(study, family, analysis, number, unit) for family in FAMILIES}
        if len(known := {family: text for family, text in ranges.items() if text}) > 1:
            shown = "; ".join(f"{family} {text}" for family, text in known.items())
            lines.append(f"The families differ in {noun} too ({shown}), which the comparison does not separate.")
    weights = {network.name: str(_specimen(network).get("weights", "")) for network in study.networks}
    if len(weights) > 1:
        lines.append(
            "Pretraining differs between networks in augmentation, weight decay and length, and can cause what is here told of families: "
            f"{name_list([f'{name} ({tag})' if tag else name for name, tag in weights.items()], MAX_NAMES)}."
        )
    return lines + _coarse_maps(study)


def study_caveats(finding: Finding) -> list[str]:
    """All caveats of a finding on traits."""
    facts = finding.facts
    networks: Mapping[str, str] = facts["networks"]
    counts = {family: list(networks.values()).count(family) for family in FAMILIES}
    shown = ", ".join(f"{count} {family}" for family, count in counts.items())
    lines = [
        f"Every verdict is model-level ({shown}): intervals are over images or twins, not over networks, and a few networks make no law "
        "about a family.",
        "Not significant does not mean equal: the interval says how large a difference may still be.",
        "Each hypothesis keeps 95% over its claims; over all eight together more than 5% of true nulls may be rejected.",
        *facts["confounders"],
        "Similar weights or features are no proof that a layer can be removed; only H7 and H8, by removal, decide that.",
    ]
    if left := facts["left_out"]:
        lines.append(f"Left out, being untrained or of no known family: {name_list(list(left), MAX_NAMES)}.")
    return [*lines, *facts["missing_figures"]]


def _specimen(network: StudiedNetwork) -> Mapping[str, object]:
    return next(iter(network.findings.values())).origin["specimen"]


def _range(study: Study, family: str, analysis: str, number: str, unit: str) -> str:
    """The smallest and the largest value of a key number in a family; empty where none is known."""
    values = [
        each.value
        for network in study.members(family)
        if analysis in network.findings
        for each in network.findings[analysis].key_numbers
        if each.name == number and np.isfinite(each.value)
    ]
    if not values:
        return ""
    low, high = format_value(min(values), unit), format_value(max(values), unit)
    return low if low == high else f"{low} to {high}"


def _coarse_maps(study: Study) -> list[str]:
    """The networks whose maps are coarser than the common grid, so that their evidence covers more by itself."""
    coarse: list[str] = []
    for network in study.networks:
        finding = network.findings.get("objects")
        if finding is not None and "map_grid" in finding.facts:
            rows, cols = finding.facts["map_grid"]
            if min(rows, cols) < int(finding.options.get("grid", 0)):
                coarse.append(f"{network.name} ({rows} × {cols})")
    return [f"Maps coarser than the common grid cover more by themselves: {name_list(coarse, MAX_NAMES)}."] if coarse else []
