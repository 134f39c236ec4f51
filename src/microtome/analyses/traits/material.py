"""The networks of a study by family, and the columns of their images: lift, area, clutter, answers, coverage."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from microtome.errors import hint
from microtome.finding import Finding
from microtome.numerics.statistics.intervals import nan_mean
from microtome.numerics.statistics.trends import relative_ranks
from microtome.prose import name_list
from microtome.specimen.families import FAMILIES

SAME_OPTIONS = ("at", "kind", "target", "place", "grid")  # of `objects`, or maps cannot be compared
COLUMNS = ("lift", "area", "clutter", "correct", "coverage50", "coverage90")
Values = np.ndarray[Any, Any]


class StudiedNetwork(NamedTuple):
    """A trained network of one of the three families, with its findings by analysis."""

    name: str
    family: str
    findings: Mapping[str, Finding]


class Study(NamedTuple):
    """The networks; what they gave for each image, by name and column; area and clutter of each image, common to all of them.

    `refusal` is why there are no columns, as a clause.
    """

    networks: list[StudiedNetwork]
    left_out: list[str]
    columns: Mapping[str, Mapping[str, Values]]
    area: Values
    clutter_rank: Values
    refusal: str

    def members(self, family: str) -> list[StudiedNetwork]:
        """The networks of a family."""
        return [network for network in self.networks if network.family == family]

    def models(self, *families: str) -> str:
        """How many networks stand for each family: "2 deeper, 1 wider"."""
        return ", ".join(f"{len(self.members(family))} {family}" for family in families if family)

    def lacking(self, *families: str) -> str:
        """Which family has no trained network here, as a clause; empty where all have one."""
        missing = [family for family in families if family and not self.members(family)]
        return f"no trained network of the {' and '.join(missing)} family was measured" if missing else ""


def gather_study(byname: Mapping[str, Mapping[str, Finding]]) -> Study:
    """The study that these findings, by network and analysis, amount to."""
    networks: list[StudiedNetwork] = []
    left_out: list[str] = []
    for name, findings in byname.items():
        specimen = next(iter(findings.values())).origin["specimen"]
        family = str(specimen.get("family", ""))
        if specimen.get("trained") is False or family not in FAMILIES:
            left_out.append(name)
        else:
            networks.append(StudiedNetwork(name, family, findings))
    having = {network.name: network.findings["objects"] for network in networks if "objects" in network.findings}
    refusal = _misfit(having)
    unknown = np.zeros(0)
    if refusal:
        return Study(networks, left_out, {}, unknown, unknown, refusal)
    columns = {
        name: {
            column: np.asarray(finding[f"each_{column}"].values, dtype=np.float64)
            for column in COLUMNS
            if f"each_{column}" in finding
        }
        for name, finding in having.items()
    }
    area = nan_mean(np.stack([each["area"] for each in columns.values()]).T)
    ranks = nan_mean(np.stack([relative_ranks(each["clutter"]) for each in columns.values()]).T)
    return Study(networks, left_out, columns, area, relative_ranks(ranks), "")


def family_mean(study: Study, members: Sequence[str], column: str) -> Values:
    """The mean of a column over these networks (image,); not a number where one of them has none."""
    return np.mean([study.columns[name][column] for name in members], axis=0)


def _misfit(having: Mapping[str, Finding]) -> str:
    """Why the columns of these findings of `objects` cannot stand side by side, as a clause; empty where they can."""
    again = hint("microtome analyze SPECIMEN… IMAGES --only objects", "mt.analyze(specimens, images, out, only=['objects'])")
    if not having:
        return f"no finding of objects, which needs images with masks or boxes: {again}"
    if len({str((finding.origin.get("images") or {}).get("digest", "")) for finding in having.values()}) > 1:
        return f"the networks were measured on different images; measure all on the same: {again}"
    settings = {name: str([finding.options.get(key) for key in SAME_OPTIONS]) for name, finding in having.items()}
    usual = max(settings.values(), key=list(settings.values()).count)
    apart = [name for name, setting in settings.items() if setting != usual]
    if apart:
        return f"objects was measured with other options for {name_list(apart)}; measure all alike: {again}"
    if (
        any("each_lift" not in finding for finding in having.values())
        or len({f["each_lift"].size for f in having.values()}) > 1
    ):
        return f"the findings of objects hold no common rows of images; measure them again: {again}"
    return ""
