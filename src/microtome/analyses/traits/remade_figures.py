"""Figures 3 to 10 of the study, made again from the user's findings of `cam` and `weights`.

Figure 3: maps of the deepest layer of all networks. Figure 4: maps from shallow to deep. Figures 5 to 10: weights and maps of the last
three layers, network by network. Networks whose images are cropped alike share a panel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from microtome.analyses.traits.material import StudiedNetwork
from microtome.finding import Finding, array
from microtome.panels import Hist, Overlay, Panel

STAGES = ("shallow", "middle", "deep")
LAST_FIGURES = {"deeper": "Figures 5 and 6", "attention": "Figures 7 and 8", "wider": "Figures 9 and 10"}
LAST = 3  # layers
Arrays = dict[str, xr.DataArray]


def remake_figures(networks: Sequence[StudiedNetwork]) -> tuple[Arrays, list[str]]:
    """The arrays of figures 3 to 10, and why some are missing, one sentence each."""
    arrays: Arrays = {}
    having = [network for network in networks if "cam" in network.findings]
    for number, group in enumerate(_groups_of_same_images(having), start=1):
        arrays |= _deepest_maps(group, number) | _maps_by_depth(group, number) | _last_maps(group)
    for network in networks:
        if "weights" in network.findings:
            arrays |= _histograms(network)
    missing: list[str] = []
    if without := [network.name for network in networks if "cam" not in network.findings]:
        missing.append(f"Figures 3 and 4, and the maps of 5 to 10, are missing for {', '.join(without)}: no finding of cam.")
    if without := [network.name for network in networks if f"density/{network.name}" not in arrays]:
        missing.append(
            f"The weights of figures 5 to 10 are missing for {', '.join(without)}: no compared layers in a finding of weights."
        )
    return arrays, missing


def figure_panels(finding: Finding, families: dict[str, str]) -> list[Panel]:
    """The figures in the study's order; `families` are the networks with their family."""
    several = "heat/2" in finding
    panels: list[Panel] = []
    for figure, stem, title, across in (("Figure 3", "heat", "all networks, deepest layer", "specimen"),
                                        ("Figure 4", "depth_heat", "from shallow to deep layers", "stage")):  # fmt: skip
        for number in _numbers(finding, stem):
            base, mask = (f"{stem.replace('heat', kind)}/{number}" for kind in ("picture", "mask"))
            whose = f", images cropped alike, group {number}" if several else ""
            panels.append(Overlay(
                title=f"{figure}: {title}{whose}", base=base, heat=f"{stem}/{number}", across=across,
                mask=mask if mask in finding else "", note=_note(finding, figure),
            ))  # fmt: skip
    order = sorted(families, key=lambda name: list(LAST_FIGURES).index(families[name]))
    for name in order:
        panels += _network_panels(finding, name, families[name])
    return panels


def _network_panels(finding: Finding, name: str, family: str) -> list[Panel]:
    """The weights and the maps of the last three layers of one network."""
    start, panels = f"{LAST_FIGURES[family]}, {family}: {name}", []
    if f"density/{name}" in finding:
        panels.append(Hist(
            title=f"{start}, weights of the last three layers", density=f"density/{name}", value=f"value/{name}",
            null=f"twin_density/{name}", null_value=f"twin_value/{name}", note="Outline: an untrained twin.",
        ))  # fmt: skip
    if f"last_heat/{name}" in finding:
        panels.append(Overlay(
            title=f"{start}, maps of the last three layers", base=f"last_picture/{name}", heat=f"last_heat/{name}", across="layer",
            mask=f"last_mask/{name}" if f"last_mask/{name}" in finding else "", note="Grad-CAM, all on one grid.",
        ))  # fmt: skip
    return panels


def _note(finding: Finding, figure: str) -> str:
    start = "Grad-CAM of the predicted class, all on one grid; each map has its own colour scale."
    return f"{start} One image, the first of figure 3." if figure == "Figure 4" else start


def _numbers(finding: Finding, stem: str) -> list[int]:
    numbers: list[int] = []
    while f"{stem}/{len(numbers) + 1}" in finding:
        numbers.append(len(numbers) + 1)
    return numbers


def _groups_of_same_images(networks: Sequence[StudiedNetwork]) -> list[list[StudiedNetwork]]:
    """The networks in groups that show the same images, cropped alike, on grids of the same size."""
    groups: list[list[StudiedNetwork]] = []
    for network in networks:
        finding = network.findings["cam"]
        for group in groups:
            first = group[0].findings["cam"]
            same = first["image"].shape == finding["image"].shape and first["heat"].shape[2:] == finding["heat"].shape[2:]
            if same and bool((first["image"].values == finding["image"].values).all()):
                group.append(network)
                break
        else:
            groups.append([network])
    return groups


def _named_images(finding: Finding) -> dict[str, Any]:
    image = finding["image"]
    return {"image": [str(name) for name in image.coords["image"].values]} if "image" in image.coords else {}


def _shown(finding: Finding, chosen: list[int], stem: str, where: str, names: dict[str, Any]) -> Arrays:
    """The chosen images and, where there are any, their masks."""
    arrays = {f"{stem}picture/{where}": array(finding["image"].values[chosen], ("image", "row", "col", "rgb"), "1", names)}
    if "mask" in finding:
        arrays[f"{stem}mask/{where}"] = array(finding["mask"].values[chosen], ("image", "row", "col"), "1", names)
    return arrays


def _deepest_maps(group: list[StudiedNetwork], number: int) -> Arrays:
    findings = [network.findings["cam"] for network in group]
    heat = np.stack([finding["heat"].values[:, -1] for finding in findings], axis=1)
    coords = _named_images(findings[0]) | {"specimen": [network.name for network in group]}
    maps = {f"heat/{number}": array(heat, ("image", "specimen", "row", "col"), "score", coords, "Grad-CAM")}
    return maps | _shown(findings[0], list(range(len(heat))), "", str(number), _named_images(findings[0]))


def _maps_by_depth(group: list[StudiedNetwork], number: int) -> Arrays:
    """The first image for each network, at the first, the second and the last of its layers: shallow, middle and deep."""
    known = [network for network in group if network.findings["cam"]["heat"].sizes["layer"] >= len(STAGES)]
    if not known:
        return {}
    names = {"image": [network.name for network in known]}
    heat = np.stack([network.findings["cam"]["heat"].values[0, [0, 1, -1]] for network in known])
    first = known[0].findings["cam"]
    maps = array(heat, ("image", "stage", "row", "col"), "score", names | {"stage": list(STAGES)}, "Grad-CAM")
    return {f"depth_heat/{number}": maps} | _shown(first, [0] * len(known), "depth_", str(number), names)


def _last_maps(group: list[StudiedNetwork]) -> Arrays:
    """Two images for each network, the smallest and the largest object where that is known, at its last three layers."""
    arrays: Arrays = {}
    for network in group:
        finding = network.findings["cam"]
        chosen = _smallest_and_largest(finding)
        heat = finding["heat"]
        coords = {"layer": [str(layer) for layer in heat.coords["layer"].values[-LAST:]]}
        coords |= {key: [values[place] for place in chosen] for key, values in _named_images(finding).items()}
        arrays[f"last_heat/{network.name}"] = array(
            heat.values[chosen][:, -LAST:], ("image", "layer", "row", "col"), "score", coords, "Grad-CAM"
        )
        images = {key: values for key, values in coords.items() if key == "image"}
        arrays |= _shown(finding, chosen, "last_", network.name, images)
    return arrays


def _smallest_and_largest(finding: Finding) -> list[int]:
    count = finding["heat"].sizes["image"]
    if "area" not in finding or not np.isfinite(finding["area"].values).any():
        return list(range(min(2, count)))
    area = finding["area"].values
    return list(dict.fromkeys([int(np.nanargmin(area)), int(np.nanargmax(area))]))


def _histograms(network: StudiedNetwork) -> Arrays:
    """The densities of the compared tensors that the finding of weights draws."""
    finding = network.findings["weights"]
    drawn = [panel for panel in finding.panels if isinstance(panel, Hist) and panel.density == "density" and panel.only]
    if not drawn:
        return {}
    chosen = list(drawn[0].only)
    return {
        f"{name}/{network.name}": finding[name]
        .sel(layer=chosen)
        .assign_attrs(title=name.removeprefix("twin_").replace("value", "weight"))
        for name in ("density", "value", "twin_density", "twin_value")
        if name in finding
    }
